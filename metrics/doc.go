// Package metrics tells an operator's monitoring how the house is doing, in the
// text format of Prometheus.
//
// It reads what desk, engine and decision point say of themselves, and never
// imports the store or a door. It writes nothing. Names of people, requests and
// grants are in no figure.
package metrics
