package cli

import (
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/ssh"
	"github.com/countersign/countersign/house"
)

// sshLogSettings name the log of the hosts.
type sshLogSettings struct {
	// Files is a path, perhaps with *; Zone is that of times which name none, UTC if it
	// is empty.
	Files string `yaml:"files"`
	Zone  string `yaml:"zone"`
}

// open prepares the built-in connector ssh with the log; nil where none is named.
func (s sshLogSettings) open() (func(house.Targets) connector.Connector, error) {
	switch {
	case s == sshLogSettings{}:
		return nil, nil
	case s.Files == "":
		return nil, invalid("ssh_log.files is missing: name the log of the hosts, as /var/log/hosts/auth.log*")
	}
	zone, err := time.LoadLocation(s.Zone)
	if err != nil {
		return nil, invalid("ssh_log.zone %q is not a time zone: write it as Europe/Berlin", s.Zone)
	}
	log, err := ssh.OpenLog(s.Files, zone)
	if err != nil {
		return nil, err
	}
	return func(targets house.Targets) connector.Connector { return ssh.New(targets.PKI, clock{}, log) }, nil
}
