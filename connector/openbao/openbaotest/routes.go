package openbaotest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is one path of a policy, which may end in * and have + for a segment.
type rule struct {
	path         string
	capabilities []string
}

var pathRule = regexp.MustCompile(`(?m)^\s*path\s+"([^"]+)"\s*\{\s*capabilities\s*=\s*\[([^\]]*)\]\s*\}`)

// readPolicy reads the part of the language in which the page of the connector has
// its policies.
func readPolicy(text string) ([]rule, error) {
	var rules []rule
	for _, found := range pathRule.FindAllStringSubmatch(text, -1) {
		one := rule{path: found[1]}
		for capability := range strings.SplitSeq(found[2], ",") {
			one.capabilities = append(one.capabilities, strings.Trim(strings.TrimSpace(capability), `"`))
		}
		rules = append(rules, one)
	}
	if len(rules) == 0 || len(rules) != strings.Count(text, "path \"") {
		return nil, fmt.Errorf("the policy cannot be read: %s", text)
	}
	return rules, nil
}

func (r rule) matches(path string) bool {
	pattern := regexp.QuoteMeta(strings.TrimSuffix(r.path, "*"))
	pattern = "^" + strings.ReplaceAll(pattern, `\+`, `[^/]+`)
	if !strings.HasSuffix(r.path, "*") {
		pattern += "$"
	}
	return regexp.MustCompile(pattern).MatchString(path)
}

// capabilities are those of the longest path that matches.
func (f *Server) capabilities(token *Token, path string) []string {
	if slices.Contains(token.Policies, "root") {
		return []string{"root"}
	}
	longest, found := -1, []string{"deny"}
	for _, policy := range token.Policies {
		for _, one := range f.policies[policy] {
			if one.matches(path) && len(one.path) > longest {
				longest, found = len(one.path), one.capabilities
			}
		}
	}
	return found
}

func (f *Server) may(token *Token, path, capability string) bool {
	has := f.capabilities(token, path)
	return slices.Contains(has, "root") || slices.Contains(has, capability)
}

func text(question map[string]any, name string) string {
	value, _ := question[name].(string)
	return value
}

// length reads a duration as the server does: a number of seconds, or with a unit.
func length(question map[string]any, name string) time.Duration {
	switch value := question[name].(type) {
	case float64:
		return time.Duration(value) * time.Second
	case string:
		if n, err := strconv.Atoi(value); err == nil {
			return time.Duration(n) * time.Second
		}
		read, _ := time.ParseDuration(value)
		return read
	}
	return 0
}

var (
	appRolePath = regexp.MustCompile(`^(auth/.+/role/[^/]+)(|/role-id|/secret-id|/secret-id-accessor/lookup|/secret-id-accessor/destroy)$`)
	enginePath  = regexp.MustCompile(`^(.+)/(roles|creds)/([^/]+)$`)
)

func (f *Server) route(w http.ResponseWriter, method, path string, token *Token, question map[string]any) {
	if id, is := strings.CutPrefix(path, "sys/leases/revoke/"); is {
		question["lease_id"], path = id, "sys/leases/revoke"
	}
	if id, is := strings.CutPrefix(path, "sys/leases/renew/"); is {
		question["lease_id"], path = id, "sys/leases/renew"
	}
	role, isRole := strings.CutPrefix(path, "auth/token/create/")
	engine, approle := enginePath.FindStringSubmatch(path), appRolePath.FindStringSubmatch(path)
	switch {
	case path == "auth/token/lookup-self":
		give(w, f.told(token))
	case path == "sys/capabilities-self":
		answer := map[string]any{}
		paths, _ := question["paths"].([]any)
		for _, one := range paths {
			if name, is := one.(string); is {
				answer[name] = f.capabilities(token, name)
			}
		}
		give(w, answer)
	case isRole:
		f.createToken(w, role, question)
	case path == "auth/token/lookup-accessor", path == "auth/token/revoke-accessor", path == "auth/token/renew-accessor":
		f.byAccessor(w, strings.TrimPrefix(path, "auth/token/"), question)
	case path == "sys/leases/lookup", path == "sys/leases/revoke", path == "sys/leases/renew":
		f.onLease(w, strings.TrimPrefix(path, "sys/leases/"), question)
	case approle != nil:
		f.onAppRole(w, method, approle[1], approle[2], question)
	case engine != nil && f.engines[engine[1]] != nil:
		f.onEngine(w, engine[1], engine[2], engine[3], token)
	default:
		no(w, http.StatusNotFound, "no handler for route \""+path+"\". route entry not found.")
	}
}

func (f *Server) told(token *Token) map[string]any {
	answer := map[string]any{"id": token.ID, "accessor": token.Accessor, "policies": token.Policies, "meta": token.Meta, "expire_time": nil, "ttl": 0, "renewable": token.Renewable, "type": map[bool]string{false: "service", true: "batch"}[token.Batch], "orphan": true}
	if !token.Expires.IsZero() {
		answer["expire_time"], answer["ttl"] = token.Expires.Format(time.RFC3339Nano), int64(token.Expires.Sub(f.now()).Seconds())
	}
	if token.Period > 0 {
		answer["period"] = int64(token.Period.Seconds())
	}
	return answer
}

func (f *Server) createToken(w http.ResponseWriter, role string, question map[string]any) {
	policies, known := f.tokenRoles[role]
	if !known {
		no(w, http.StatusBadRequest, "unknown role "+role)
		return
	}
	ttl := min(length(question, "ttl"), f.longest)
	made := &Token{ID: f.unique("s.fake"), Accessor: f.unique("accessor"), Policies: policies, Role: role, Meta: map[string]string{}, Expires: f.now().Add(ttl), Renewable: true}
	meta, _ := question["meta"].(map[string]any)
	for name, value := range meta {
		made.Meta[name] = fmt.Sprint(value)
	}
	f.tokens[made.ID] = made
	tell(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": made.ID, "accessor": made.Accessor, "policies": policies, "metadata": made.Meta, "lease_duration": int64(ttl.Seconds()), "renewable": true, "token_type": "service", "orphan": true}})
}

func (f *Server) byAccessor(w http.ResponseWriter, what string, question map[string]any) {
	var token *Token
	for _, one := range f.tokens {
		if one.Accessor == text(question, "accessor") {
			token = one
		}
	}
	switch {
	case token == nil && what == "revoke-accessor":
		tell(w, http.StatusOK, map[string]any{"warnings": []string{"No token found with this accessor"}})
	case token == nil:
		no(w, http.StatusBadRequest, "1 error occurred:\n\t* invalid accessor\n\n")
	case what == "revoke-accessor":
		f.endToken(token.ID)
		w.WriteHeader(http.StatusNoContent)
	case what == "renew-accessor":
		ttl := min(length(question, "increment"), f.longest)
		token.Expires = f.now().Add(ttl)
		tell(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": "", "accessor": token.Accessor, "lease_duration": int64(ttl.Seconds()), "renewable": true}})
	default:
		answer := f.told(token)
		answer["id"] = ""
		give(w, answer)
	}
}

func (f *Server) onLease(w http.ResponseWriter, what string, question map[string]any) {
	held := f.leases[text(question, "lease_id")]
	switch {
	case text(question, "lease_id") == "":
		no(w, http.StatusBadRequest, "lease_id must be specified")
	case what == "revoke" && held == nil:
		w.WriteHeader(http.StatusNoContent)
	case what == "revoke" && (f.queueing || question["sync"] != true):
		held.expires = f.now()
		w.WriteHeader(http.StatusAccepted)
	case what == "revoke":
		if why := f.takeBack(held); why != "" {
			no(w, http.StatusBadRequest, why)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case held == nil && what == "lookup":
		no(w, http.StatusBadRequest, "invalid lease")
	case held == nil:
		no(w, http.StatusBadRequest, "lease not found")
	case what == "renew" && !held.renewable:
		no(w, http.StatusBadRequest, "lease is not renewable")
	case what == "renew":
		end := f.now().Add(length(question, "increment"))
		if latest := held.issued.Add(held.longest); held.longest > 0 && end.After(latest) {
			end = latest
		}
		held.expires = end
		tell(w, http.StatusOK, map[string]any{"lease_id": held.id, "renewable": true, "lease_duration": int64(end.Sub(f.now()).Seconds()), "data": nil})
	default:
		answer := map[string]any{"id": held.id, "path": held.id[:strings.LastIndex(held.id, "/")], "issue_time": held.issued.Format(time.RFC3339Nano), "expire_time": held.expires.Format(time.RFC3339Nano), "ttl": int64(held.expires.Sub(f.now()).Seconds()), "renewable": held.renewable, "last_renewal": nil}
		if held.failed != "" {
			answer["revoke_error"] = held.failed
		}
		give(w, answer)
	}
}

func (f *Server) onEngine(w http.ResponseWriter, mount, what, name string, token *Token) {
	role, known := f.engines[mount][name]
	switch {
	case !known && what == "roles":
		no(w, http.StatusNotFound)
	case what == "roles":
		give(w, map[string]any{"default_ttl": int64(role.Default.Seconds()), "max_ttl": int64(role.Longest.Seconds())})
	case !known:
		no(w, http.StatusBadRequest, "unknown role: "+name)
	default:
		username, password := f.unique("v-"+token.Meta["countersign_credential"]+"-"+name+"-"), f.unique("password-")
		f.accounts[username] = account{mount, name, password}
		data := map[string]any{"username": username, "password": password}
		f.given[token.Meta["countersign_credential"]]++
		if role.NoLease {
			give(w, data)
			return
		}
		held := &lease{id: f.unique(mount + "/creds/" + name + "/"), token: token.ID, username: username, issued: f.now(), expires: f.now().Add(role.Default), renewable: !role.Fixed, longest: role.Longest}
		f.leases[held.id] = held
		tell(w, http.StatusOK, map[string]any{"lease_id": held.id, "renewable": held.renewable, "lease_duration": int64(role.Default.Seconds()), "data": data})
	}
}

func (f *Server) onAppRole(w http.ResponseWriter, method, path, what string, question map[string]any) {
	role, known := f.appRoles[path]
	name := path[strings.LastIndex(path, "/")+1:]
	accessor := text(question, "secret_id_accessor")
	held := f.secretIDs[accessor]
	if held != nil && held.path != path {
		held = nil
	}
	switch {
	case !known && strings.HasPrefix(what, "/secret-id-accessor"):
		no(w, http.StatusInternalServerError, fmt.Sprintf("1 error occurred:\n\t* role %q does not exist\n\n", name))
	case !known && what == "":
		no(w, http.StatusNotFound)
	case !known && what == "/secret-id" && method != "LIST":
		no(w, http.StatusBadRequest, fmt.Sprintf("role %q does not exist", name))
	case !known:
		no(w, http.StatusNotFound, fmt.Sprintf("role %q does not exist", name))
	case what == "":
		give(w, map[string]any{"bind_secret_id": !role.NoSecretID, "secret_id_ttl": int64(role.SecretIDTTL.Seconds()), "secret_id_num_uses": 0, "token_max_ttl": int64(role.TokenMaxTTL.Seconds()), "token_explicit_max_ttl": 0, "token_period": int64(role.TokenPeriod.Seconds())})
	case what == "/role-id":
		give(w, map[string]any{"role_id": role.ID})
	case what == "/secret-id" && method == "LIST":
		keys := []string{}
		for key, one := range f.secretIDs {
			if one.path == path {
				keys = append(keys, key)
			}
		}
		if len(keys) == 0 {
			no(w, http.StatusNotFound)
			return
		}
		give(w, map[string]any{"keys": keys})
	case what == "/secret-id":
		f.makeSecretID(w, path, role, question)
	case held == nil && strings.HasSuffix(what, "/destroy"):
		no(w, http.StatusInternalServerError, fmt.Sprintf("1 error occurred:\n\t* failed to find accessor entry for secret_id_accessor: %q\n\n", accessor))
	case held == nil:
		tell(w, http.StatusNotFound, map[string]any{"data": map[string]any{"error": fmt.Sprintf("failed to find accessor entry for secret_id_accessor: %q", accessor)}})
	case strings.HasSuffix(what, "/destroy"):
		delete(f.secretIDs, accessor)
		w.WriteHeader(http.StatusNoContent)
	default:
		give(w, map[string]any{"secret_id_accessor": accessor, "metadata": held.meta, "creation_time": held.created.Format(time.RFC3339Nano), "expiration_time": held.end.Format(time.RFC3339Nano), "secret_id_num_uses": 0, "cidr_list": []string{}})
	}
}

func (f *Server) makeSecretID(w http.ResponseWriter, path string, role AppRole, question map[string]any) {
	ttl := length(question, "ttl")
	if role.SecretIDTTL > 0 && ttl > role.SecretIDTTL {
		no(w, http.StatusBadRequest, "ttl cannot be longer than the role's secret_id_ttl")
		return
	}
	made := &secretID{secret: f.unique("secret-"), path: path, meta: map[string]string{}, created: f.now(), end: f.now().Add(ttl)}
	if json.Unmarshal([]byte(text(question, "metadata")), &made.meta) != nil {
		no(w, http.StatusBadRequest, "failed to parse metadata")
		return
	}
	accessor := f.unique("secret-accessor-")
	f.secretIDs[accessor] = made
	f.given[made.meta["countersign_credential"]]++
	give(w, map[string]any{"secret_id": made.secret, "secret_id_accessor": accessor, "secret_id_ttl": int64(ttl.Seconds()), "secret_id_num_uses": 0})
}
