package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/desk"
)

const unitFile, containerFile = "../deploy/countersign.service", "../deploy/Containerfile"

func fileText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// starts reads a command line as the program does, without carrying it out.
func starts(t *testing.T, args []string) *cobra.Command {
	t.Helper()
	found, rest, err := command(strings.NewReader("")).Find(args)
	if err == nil {
		err = found.ParseFlags(rest)
	}
	if err == nil {
		err = found.ValidateArgs(found.Flags().Args())
	}
	if err != nil {
		t.Fatalf("countersign %s: %v", strings.Join(args, " "), err)
	}
	if found.Name() != "serve" {
		t.Fatalf("countersign %s does not start the house", strings.Join(args, " "))
	}
	return found
}

// settings are the values of each key of a systemd unit, by section.
func settings(t *testing.T, path string) map[string][]string {
	t.Helper()
	read, section := map[string][]string{}, ""
	for i, line := range strings.Split(fileText(t, path), "\n") {
		key, value, assigned := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case !assigned || section == "":
			t.Fatalf("%s:%d is no setting: %s", path, i+1, line)
		default:
			read[section+"."+key] = append(read[section+"."+key], value)
		}
	}
	return read
}

func TestTheUnitStartsWhatTheProgramOffersWithoutRights(t *testing.T) {
	unit := settings(t, unitFile)
	one := func(key string) string {
		t.Helper()
		if len(unit["Service."+key]) != 1 {
			t.Fatalf("%s stands %d times in the unit, and should stand once", key, len(unit["Service."+key]))
		}
		return unit["Service."+key][0]
	}
	line := strings.Fields(one("ExecStart"))
	if !filepath.IsAbs(line[0]) || filepath.Base(line[0]) != "countersign" {
		t.Errorf("the unit starts %s", line[0])
	}
	serve := starts(t, line[1:])
	data, config := serve.Flag("data").Value.String(), serve.Flag("config").Value.String()
	if data != "/var/lib/"+one("StateDirectory") {
		t.Errorf("the data folder is %s, and systemd makes /var/lib/%s", data, one("StateDirectory"))
	}
	if config != "/etc/"+one("ConfigurationDirectory")+"/countersign.yaml" {
		t.Errorf("the configuration is %s, and systemd makes /etc/%s", config, one("ConfigurationDirectory"))
	}
	for _, text := range []string{fileText(t, unitFile), fileText(t, "../docs/operating.md")} {
		if !strings.Contains(text, config) {
			t.Errorf("what people read does not name %s", config)
		}
	}
	user := one("User")
	if user == "root" || user == "0" || user == "" || one("Group") != user || !strings.Contains(fileText(t, unitFile), "--home-dir "+data+" --shell /usr/sbin/nologin "+user+"\n") {
		t.Errorf("it runs as %s:%s, and the line at the top makes another user", user, one("Group"))
	}
	patience, err := time.ParseDuration(one("TimeoutStopSec"))
	if needs := drainNotice + drainTime + time.Duration(desk.OperationTime)*time.Second; err != nil || patience < needs {
		t.Errorf("systemd waits %s for the end, which takes up to %s (%v)", patience, needs, err)
	}
	for key, want := range map[string]string{
		"KillSignal": "SIGTERM", "ExecReload": "/bin/kill -HUP $MAINPID", "UMask": "0077", "StateDirectoryMode": "0700",
		"NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "AmbientCapabilities": "", "ProtectSystem": "strict", "ProtectHome": "yes", "ProtectProc": "invisible", "ProcSubset": "pid",
		"ProtectClock": "yes", "ProtectHostname": "yes", "ProtectKernelTunables": "yes", "ProtectKernelModules": "yes", "ProtectKernelLogs": "yes", "ProtectControlGroups": "yes",
		"PrivateTmp": "yes", "PrivateDevices": "yes", "PrivateUsers": "yes", "RemoveIPC": "yes", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces": "yes",
		"RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "LockPersonality": "yes", "MemoryDenyWriteExecute": "yes", "SystemCallArchitectures": "native",
	} {
		if got := one(key); got != want {
			t.Errorf("%s is %q in the unit, and should be %q", key, got, want)
		}
	}
	if want := []string{"@system-service", "~@privileged @resources"}; !slices.Equal(unit["Service.SystemCallFilter"], want) {
		t.Errorf("SystemCallFilter is %q, and should be %q", unit["Service.SystemCallFilter"], want)
	}
}

// analyze runs systemd-analyze, which skips where there is none.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
	return string(out), err
}

func TestSystemdUnderstandsTheUnit(t *testing.T) {
	// The program is not installed where tests run; something that can be executed is.
	program := filepath.Join(t.TempDir(), "countersign")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	whole := strings.Replace(fileText(t, unitFile), "/usr/local/bin/countersign", program, 1)
	unit := func(text string) string {
		path := filepath.Join(t.TempDir(), "countersign.service")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// What systemd passes over it says and goes on, so that silence is what counts.
	// Units of this machine that the unit waits for may have faults of their own.
	complaints := func(text string) (about []string) {
		path := unit(text)
		said, _ := analyze(t, "verify", path)
		for _, line := range strings.Split(said, "\n") {
			if strings.Contains(line, filepath.Base(path)) {
				about = append(about, line)
			}
		}
		return about
	}
	if said := complaints(whole); len(said) > 0 {
		t.Error(strings.Join(said, "\n"))
	}
	for _, wrong := range [][2]string{{"ProtectHome=", "ProtectHomes="}, {"Type=exec", "Type=exek"}, {"~@privileged", "~@privilege"}, {program, program + "-not-there"}} {
		if said := complaints(strings.Replace(whole, wrong[0], wrong[1], 1)); len(said) == 0 {
			t.Errorf("with %s in place of %s, nothing is said", wrong[1], wrong[0])
		}
	}
	t.Run("exposure", func(t *testing.T) {
		exposed := func(text string) (string, error) {
			said, err := analyze(t, "security", "--offline=true", "--threshold=20", unit(text))
			if strings.Contains(said, "unrecognized option") {
				t.Skip("systemd-analyze is older than 250 and judges installed units only")
			}
			return said, err
		}
		if said, err := exposed(whole); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
		hardened := regexp.MustCompile(`(?m)^(No|Private|Protect|Restrict|Capability|SystemCall).*\n`)
		if said, err := exposed(hardened.ReplaceAllString(whole, "")); err == nil {
			t.Errorf("without what hardens it, it is not exposed either:\n%s", said)
		}
	})
}

// instructions are the lines of a Containerfile as word and rest, in order.
func instructions(t *testing.T, path string) (read [][2]string) {
	t.Helper()
	for _, line := range strings.Split(fileText(t, path), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		read = append(read, [2]string{word, rest})
	}
	return read
}

func TestTheContainerRunsWhatTheProgramOffersWithoutRights(t *testing.T) {
	said, copied, made := map[string]string{}, map[string]string{}, fileText(t, "../Makefile")
	for _, instruction := range instructions(t, containerFile) {
		word, rest := instruction[0], instruction[1]
		if word != "COPY" {
			if said[word] != "" {
				t.Fatalf("%s stands twice in the Containerfile", word)
			}
			said[word] = rest
			continue
		}
		fields := strings.Fields(rest)
		from, to := fields[len(fields)-2], fields[len(fields)-1]
		copied[to] = strings.Join(fields[:len(fields)-2], " ")
		if base, _, _ := strings.Cut(from, "${"); !strings.HasPrefix(from, "dist/") || !strings.Contains(made, strings.TrimSuffix(base, "linux-")) {
			t.Errorf("the image copies %s, which the Makefile does not make", from)
		}
	}
	if said["FROM"] != "scratch" {
		t.Errorf("the image is made from %s: what that brings along can have holes", said["FROM"])
	}
	var entry, args []string
	for word, into := range map[string]*[]string{"ENTRYPOINT": &entry, "CMD": &args} {
		if err := json.Unmarshal([]byte(said[word]), into); err != nil {
			t.Fatalf("%s %s needs a shell, and there is none: %v", word, said[word], err)
		}
	}
	if _, there := copied[entry[0]]; !there || len(entry) != 1 {
		t.Errorf("the image starts %q and holds %v", entry, copied)
	}
	data := starts(t, args).Flag("data").Value.String()
	if said["VOLUME"] != `["`+data+`"]` {
		t.Errorf("the data folder is %s, and the volume %s", data, said["VOLUME"])
	}
	user := said["USER"]
	if !regexp.MustCompile(`^[1-9]\d{3,}:[1-9]\d{3,}$`).MatchString(user) {
		t.Errorf("it runs as %q, which is not a user without rights by number", user)
	}
	if copied[data] != "--chown="+user {
		t.Errorf("%s is copied with %q, and the user is %s", data, copied[data], user)
	}
	number, _, _ := strings.Cut(user, ":")
	if !strings.Contains(fileText(t, "../docs/operating.md"), "as user "+number+".") {
		t.Errorf("docs/operating.md does not name the user %s", number)
	}
	if _, port, _ := strings.Cut(defaultListen, ":"); said["EXPOSE"] != port {
		t.Errorf("the port is %s, and the house listens on %s", said["EXPOSE"], defaultListen)
	}
	// Main drains on SIGTERM, and serve reads countersign.yaml where it is started.
	if said["STOPSIGNAL"] != "SIGTERM" || said["WORKDIR"] != "/etc/countersign" {
		t.Errorf("it is stopped by %s and started in %s", said["STOPSIGNAL"], said["WORKDIR"])
	}
}
