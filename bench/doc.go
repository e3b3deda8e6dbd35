// Package bench measures the house against the limits of the machine that it runs
// on, in the same run: pairs over real HTTP beside plain durable commits and
// pgbench, and what many live grants and open requests cost.
//
// All of it is a test, so that nothing of it is in the program: without -measure
// it runs once over very few of everything, which keeps it from rotting. The house
// runs in a process of its own, whose processor time is told from the clients'.
package bench
