// Package chaos holds tests of the real program under everything that goes wrong:
// it is killed at random and at named points, its database is killed, its
// connections and those of its target and its callers are cut, it is stopped in the
// middle of an operation; several replicas are asked contradictory things at the same
// instant, and two versions serve one house.
//
// The program is built with the tags faultpoint and shortlease. What is checked
// is what an outsider can read: the interface, a target that the test serves,
// `countersign audit verify`, and the database's own check of itself. It has no
// code but tests, and no other room imports it.
package chaos
