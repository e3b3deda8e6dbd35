// Package sqlstore keeps the promises of package store on SQLite and on
// PostgreSQL. It is the only room of the house that speaks SQL.
//
// It imports the root package and the contract, and never workflow, policy or
// desk: a store compares versions and keeps uniqueness, and does not judge.
//
// After each commit every row is its canonical bytes, its version, and index
// columns that follow from the noun alone (Rows derives them again); every
// stream is a chain without gaps; and a guard has the version that the last
// commit moved it to. There is one text for each query; where the databases
// differ, dialect.go says how.
package sqlstore
