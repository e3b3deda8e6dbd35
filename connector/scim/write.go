package scim

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign/countersign/connector"
)

// operation is one of a PATCH (RFC 7644, 3.5.2).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// change writes one attribute: by PATCH, or, on a server that cannot, by a PUT of
// what was read, with the attribute changed.
func (s *session) change(ctx context.Context, task connector.Task, path, version string, patch operation, raw json.RawMessage, name string, put func(json.RawMessage) (any, error)) error {
	if s.can.Patch.Supported {
		body := map[string]any{"schemas": []string{messageBegin + "PatchOp"}, "Operations": []operation{patch}}
		_, err := s.write(ctx, task, http.MethodPatch, path, version, body)
		return err
	}
	// A PUT writes all of it. Without a version it would undo what somebody else
	// changed after it was read.
	if version == "" || !s.can.ETag.Supported {
		return rejected("%s can neither PATCH nor compare versions (ETag), so that a write could undo what others change at the same moment: it is not written to", task.SystemName)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return transient("what the SCIM server has under %s cannot be read: %v", path, err)
	}
	whole := map[string]any{}
	for key, value := range all {
		if !strings.EqualFold(key, name) {
			whole[key] = value
		}
	}
	value, err := put(attribute(raw, name))
	if err != nil {
		return transient("what the SCIM server has under %s cannot be read: %v", path, err)
	}
	whole[name] = value
	_, err = s.write(ctx, task, http.MethodPut, path, version, whole)
	return err
}

// give gives the right, and returns the id of who has it then.
func (s *session) give(ctx context.Context, task connector.Task, of right, now *state) (string, error) {
	if of.group == "" && now.user == nil {
		return s.create(ctx, task)
	}
	return now.id, s.set(ctx, task, of, now, true)
}

// set makes the right be there or not.
func (s *session) set(ctx context.Context, task connector.Task, of right, now *state, there bool) error {
	if of.group == "" {
		return s.change(ctx, task, userPath(now.id), now.user.Meta.Version, operation{"replace", "active", there}, now.user.raw, "active",
			func(json.RawMessage) (any, error) { return there, nil })
	}
	patch := operation{"add", "members", []map[string]string{{"value": now.id}}}
	if !there {
		patch = operation{Op: "remove", Path: "members[value eq " + quote(now.id) + "]"}
	}
	return s.change(ctx, task, groupPath(of.group), now.group.Meta.Version, patch, now.group.raw, "members", func(raw json.RawMessage) (any, error) {
		members := []json.RawMessage{}
		if raw != nil {
			if err := json.Unmarshal(raw, &members); err != nil {
				return nil, err
			}
		}
		members = slices.DeleteFunc(members, func(raw json.RawMessage) bool {
			var one member
			return json.Unmarshal(raw, &one) == nil && one.Value == now.id
		})
		if there {
			added, err := json.Marshal(map[string]string{"value": now.id})
			return append(members, added), err
		}
		return members, nil
	})
}

// create makes an account. One that has the name already is somebody's, and the
// server refuses.
func (s *session) create(ctx context.Context, task connector.Task) (string, error) {
	body := map[string]any{
		"schemas": []string{schemaBegin + "User"}, "userName": task.Parameters[userNameParameter],
		externalID: task.Holder, "displayName": task.HolderName, "active": true,
	}
	if email := task.Parameters[emailParameter]; email != "" {
		body["emails"] = []map[string]any{{"value": email, "type": "work", "primary": true}}
	}
	answer, err := s.write(ctx, task, http.MethodPost, "/Users", "", body)
	if err != nil {
		return "", err
	}
	var made user
	if json.Unmarshal(answer, &made) != nil || checkID(made.ID) != nil || s.holderOf(answer) != task.Holder {
		return "", transient("the SCIM server answers to a new user with something else")
	}
	return made.ID, nil
}
