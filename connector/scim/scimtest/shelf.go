package scimtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/elimity-com/scim"
	"github.com/elimity-com/scim/errors"
	"github.com/scim2/filter-parser/v2"
)

// item is one user or group.
type item struct {
	attributes scim.ResourceAttributes
	version    int
}

func (i *item) members() []any {
	members, _ := i.attributes["members"].([]any)
	return members
}

func is(member any, user string) bool {
	has, ok := member.(map[string]any)
	return ok && has["value"] == user
}

func (i *item) has(user string) bool {
	return slices.ContainsFunc(i.members(), func(one any) bool { return is(one, user) })
}

func (i *item) set(user string, there bool) {
	rest := slices.DeleteFunc(slices.Clone(i.members()), func(one any) bool { return is(one, user) })
	if there {
		rest = append(rest, map[string]any{"value": user, "type": "User"})
	}
	if i.attributes["members"] = rest; len(rest) == 0 {
		delete(i.attributes, "members")
	}
}

// shelf keeps users or groups in the order in which they were made. Its methods are
// called with the server's lock.
type shelf struct {
	of     *Server
	prefix string
	items  map[string]*item
	order  []string
	last   int
	// writes counts changes by whom they were about.
	writes map[string]int
}

func newShelf(of *Server, prefix string) *shelf {
	return &shelf{of: of, prefix: prefix, items: map[string]*item{}, writes: map[string]int{}}
}

func (s *shelf) add(attributes scim.ResourceAttributes) string {
	s.last++
	// An id that asks for care where it is put into a path or a filter.
	id := fmt.Sprintf(`%s/%d"x`, s.prefix, s.last)
	s.items[id] = &item{attributes: attributes, version: 1}
	s.order = append(s.order, id)
	return id
}

func (s *shelf) remove(id string) {
	delete(s.items, id)
	s.order = slices.DeleteFunc(s.order, func(one string) bool { return one == id })
}

func (s *shelf) resource(id string) scim.Resource {
	attributes := scim.ResourceAttributes{}
	for name, value := range s.items[id].attributes {
		attributes[name] = value
	}
	resource := scim.Resource{ID: id, Attributes: attributes}
	if !s.of.behaviour.NoVersions {
		resource.Meta.Version = `W/"` + strconv.Itoa(s.items[id].version) + `"`
	}
	return resource
}

// flat has attributes of extensions beside the others, as the library's filters
// look for them.
func (s *shelf) flat(id string) scim.ResourceAttributes {
	attributes := s.resource(id).Attributes
	for urn, extension := range s.items[id].attributes {
		if inner, is := extension.(map[string]any); is {
			for name, value := range inner {
				attributes[urn+":"+name] = value
			}
		}
	}
	return attributes
}

// Create implements scim.ResourceHandler.
func (s *shelf) Create(_ *http.Request, attributes scim.ResourceAttributes) (scim.Resource, error) {
	for _, one := range s.items {
		if name, is := one.attributes["userName"].(string); is && strings.EqualFold(name, fmt.Sprint(attributes["userName"])) {
			return scim.Resource{}, errors.ScimErrorUniqueness
		}
	}
	id := s.add(attributes)
	s.writes[id]++
	return s.resource(id), nil
}

// Get implements scim.ResourceHandler.
func (s *shelf) Get(_ *http.Request, id string) (scim.Resource, error) {
	if s.items[id] == nil {
		return scim.Resource{}, errors.ScimErrorResourceNotFound(id)
	}
	return s.resource(id), nil
}

// GetAll implements scim.ResourceHandler.
func (s *shelf) GetAll(_ *http.Request, params scim.ListRequestParams) (scim.Page, error) {
	var found []scim.Resource
	for _, id := range s.order {
		if params.FilterValidator == nil || s.of.behaviour.NoFilter || params.FilterValidator.PassesFilter(s.flat(id)) == nil {
			found = append(found, s.resource(id))
		}
	}
	from := min(params.StartIndex-1, len(found))
	return scim.Page{TotalResults: len(found), Resources: found[from:min(from+params.Count, len(found))]}, nil
}

// changed begins a change of what is there in the version that was asked for.
func (s *shelf) changed(r *http.Request, id string) (*item, error) {
	one := s.items[id]
	if one == nil {
		return nil, errors.ScimErrorResourceNotFound(id)
	}
	if asked := r.Header.Get("If-Match"); asked != "" && !s.of.behaviour.NoVersions && asked != s.resource(id).Meta.Version {
		return nil, errors.ScimError{Status: http.StatusPreconditionFailed, Detail: "it has another version"}
	}
	one.version++
	return one, nil
}

// Replace implements scim.ResourceHandler.
func (s *shelf) Replace(r *http.Request, id string, attributes scim.ResourceAttributes) (scim.Resource, error) {
	one, err := s.changed(r, id)
	if err != nil {
		return scim.Resource{}, err
	}
	after := &item{attributes: attributes}
	s.writes[id]++
	for user := range s.of.users.items {
		if one.has(user) != after.has(user) {
			s.writes[user]++
		}
	}
	one.attributes = attributes
	return s.resource(id), nil
}

// Delete implements scim.ResourceHandler.
func (s *shelf) Delete(_ *http.Request, id string) error {
	s.remove(id)
	return nil
}

// Patch implements scim.ResourceHandler: members of groups, and what users are.
func (s *shelf) Patch(r *http.Request, id string, operations []scim.PatchOperation) (scim.Resource, error) {
	if s.of.behaviour.NoPatch {
		return scim.Resource{}, errors.ScimError{Status: http.StatusNotImplemented, Detail: "there is no PATCH here"}
	}
	one, err := s.changed(r, id)
	if err != nil {
		return scim.Resource{}, err
	}
	for _, operation := range operations {
		switch path := operation.Path.AttributePath.AttributeName; {
		case operation.Op == scim.PatchOperationAdd && path == "members":
			for _, member := range operation.Value.([]any) {
				user := member.(map[string]any)["value"].(string)
				one.set(user, true)
				s.writes[user]++
			}
		case operation.Op == scim.PatchOperationRemove && path == "members":
			which, ok := operation.Path.ValueExpression.(*filter.AttributeExpression)
			if !ok || which.Operator != filter.EQ {
				return scim.Resource{}, errors.ScimErrorInvalidPath
			}
			// The library leaves the text as it stands between the quotes; it is JSON.
			var user string
			if err := json.Unmarshal([]byte(`"`+which.CompareValue.(string)+`"`), &user); err != nil {
				return scim.Resource{}, errors.ScimErrorInvalidPath
			}
			if !one.has(user) {
				return scim.Resource{}, errors.ScimErrorNoTarget
			}
			one.set(user, false)
			s.writes[user]++
		case operation.Op == scim.PatchOperationReplace:
			one.attributes[path] = operation.Value
			s.writes[id]++
		default:
			return scim.Resource{}, errors.ScimErrorInvalidPath
		}
	}
	return s.resource(id), nil
}
