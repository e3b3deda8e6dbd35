// Package sim is test only: the whole house in a bubble of simulated time, on real
// SQLite, under everything that goes wrong. A seed draws what people do and what
// fails; the engine's steps are taken by hand. After each step the laws are checked
// from outside, against what storage keeps and what the target itself has noted.
//
// It imports whatever it likes and nothing imports it. A seed gives the same story
// again, event by event; it is printed when a law is broken:
//
//	COUNTERSIGN_SIM_SEED=17 go test ./sim -run TestTheLawsHold
//
// COUNTERSIGN_SIM_SEEDS=200 plays that many fresh seeds.
package sim
