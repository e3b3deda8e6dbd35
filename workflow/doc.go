// Package workflow is the law: the commands, the one table of transitions, and
// the pure functions Decide and Apply over requests and grants.
//
// It imports the root package only and reads no clock, disk or randomness. What
// a decision needs to know comes in as a verdict that desk filled; what a
// decision causes goes out as events. After Apply the state is exactly what the
// events say: replaying a stream gives the stored row.
package workflow
