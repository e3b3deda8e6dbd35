// Package httpapi is the door for programs: the interface under /api/v1, the
// health of the process, and the endpoints of built-in targets.
//
// docs/api/openapi.yaml is the interface; api.gen.go is made from it. Here a
// caller is recognised once, what was sent is read strictly once, and errors
// become problem documents in one place. Whether a caller may do something is
// for desk alone: this package never imports store or another door, and never
// decides. A command that was answered is durable; what was refused changed
// nothing.
package httpapi

//go:generate go tool oapi-codegen -config generate.yaml ../docs/api/openapi.yaml
