package cli

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/house"
)

// configuration is what `serve` can be told, by countersign.yaml and by flags;
// flags win.
type configuration struct {
	// Data is the data folder.
	Data string `yaml:"data"`
	// Database is a PostgreSQL URL; "" is the embedded database in Data.
	Database string `yaml:"database"`
	KeyFile  string `yaml:"key_file"`
	// Organisation is the folder that an empty database is founded with; "" is the
	// sample.
	Organisation string `yaml:"organisation"`
	Listen       string `yaml:"listen"`
	// Address is the URL under which others reach the house; "" is where it listens.
	Address string `yaml:"address"`
	// TLSCertificate and TLSKey are PEM files.
	TLSCertificate string `yaml:"tls_certificate"`
	TLSKey         string `yaml:"tls_key"`
	// BehindProxy is the network that a TLS-terminating proxy calls from.
	BehindProxy string `yaml:"behind_proxy"`
	// Limits bound what callers and addresses may ask.
	Limits limitSettings `yaml:"limits"`
	Mail   struct {
		// Server is host:port; From the address that mail comes from.
		Server   string `yaml:"server"`
		From     string `yaml:"from"`
		Username string `yaml:"username"`
		// PasswordFile holds the password, and nothing else.
		PasswordFile string `yaml:"password_file"`
		// TLS is starttls (the default), implicit or none.
		TLS string `yaml:"tls"`
		// Templates is a folder that replaces the built-in texts.
		Templates string `yaml:"templates"`
	} `yaml:"mail"`
	Webhook struct {
		URL string `yaml:"url"`
		// SecretFile holds the signing secret, whsec_ and base64.
		SecretFile string `yaml:"secret_file"`
	} `yaml:"webhook"`
	// SourceCredentials are files with what sources of tickets take as Authorization,
	// by the name of the source.
	SourceCredentials map[string]string `yaml:"source_credentials"`
	// SSHLog is what the sshd of the hosts writes that trust the built-in authority.
	SSHLog sshLogSettings `yaml:"ssh_log"`
	// Ticketing holds the secrets of the ticket systems of the policy set, by name.
	Ticketing map[string]ticketingSettings `yaml:"ticketing"`
	// Reconcile says how often targets are read.
	Reconcile reconcileSettings `yaml:"reconcile"`
	// Connectors reach systems outside of the house, by the name that systems give
	// as their connector.
	Connectors map[string]connectorSettings `yaml:"connectors"`
}

const (
	defaultData   = "countersign-data"
	defaultListen = "127.0.0.1:8740"
)

func (c configuration) place() house.Place {
	return house.Place{Data: c.Data, Database: c.Database, KeyFile: c.KeyFile}
}

// readConfiguration reads countersign.yaml strictly: an unknown key is an error
// with its place and the nearest right word.
func readConfiguration(path string) (configuration, error) {
	var read configuration
	content, err := os.ReadFile(path)
	if err != nil {
		return read, invalid("the configuration cannot be read: %v", err)
	}
	return read, readSettings(path, content, &read)
}

// placeFlags adds the flags that say where a house is kept.
func placeFlags(cmd *cobra.Command, place *house.Place) {
	cmd.Flags().StringVar(&place.Data, "data", defaultData, "the house's data folder")
	cmd.Flags().StringVar(&place.Database, "database", "", "a PostgreSQL URL instead of the embedded database")
	cmd.Flags().StringVar(&place.KeyFile, "key-file", "", "the master key (default: master.key in the data folder)")
}

// check says what is wrong with a configuration before anything is opened.
func (c configuration) check() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return invalid("--listen %q is not an address: write host:port, as %s", c.Listen, defaultListen)
	}
	if address, err := url.Parse(c.Address); c.Address != "" && (err != nil || address.Scheme != "https" && address.Scheme != "http" || address.Host == "" || address.Path != "" || address.User != nil || address.RawQuery != "" || address.Fragment != "") {
		return invalid("--address %q is not where others reach the house: write it as https://desk.example.org, without a path", c.Address)
	}
	if (c.TLSCertificate == "") != (c.TLSKey == "") {
		return invalid("TLS takes both a certificate and a key file")
	}
	if c.TLSCertificate != "" {
		if _, err := openCertificate(c.TLSCertificate, c.TLSKey, nil); err != nil {
			return err
		}
	}
	if _, err := c.proxy(); err != nil {
		return err
	}
	if c.Database != "" && c.KeyFile == "" {
		return invalid("with --database, name the house's --key-file: every replica needs the same one")
	}
	if !loopback(host) && c.TLSCertificate == "" && c.BehindProxy == "" {
		return invalid("%s can be reached from other machines: give TLS files (--tls-certificate, --tls-key), or --behind-proxy with the network that a TLS proxy calls from", c.Listen)
	}
	if _, err := c.Reconcile.every(); err != nil {
		return err
	}
	if _, err := c.channels(); err != nil {
		return err
	}
	if _, err := c.credentials(); err != nil {
		return err
	}
	if _, _, err := c.ticketing(); err != nil {
		return err
	}
	if _, err := c.connectors(); err != nil {
		return err
	}
	if c.Organisation != "" {
		if info, err := os.Stat(c.Organisation); err != nil || !info.IsDir() {
			return invalid("the organisation %s is not a folder", c.Organisation)
		}
	}
	return nil
}

// proxy returns the network that the TLS proxy calls from; the zero value for none.
func (c configuration) proxy() (netip.Prefix, error) {
	if c.BehindProxy == "" {
		return netip.Prefix{}, nil
	}
	network, err := netip.ParsePrefix(c.BehindProxy)
	if err != nil {
		return network, invalid("--behind-proxy %q is not a network: write it as 10.0.0.0/8", c.BehindProxy)
	}
	return network.Masked(), nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func configCommand() *cobra.Command {
	group := &cobra.Command{Use: "config", Short: "Check the configuration file"}
	group.AddCommand(&cobra.Command{
		Use: "check [FILE]", Short: "Name every mistake in countersign.yaml, and change nothing", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "countersign.yaml"
			if len(args) > 0 {
				path = args[0]
			}
			read, err := readConfiguration(path)
			if err != nil {
				return err
			}
			read.complete()
			if err := read.check(); err != nil {
				return err
			}
			if err := read.askConnectors(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good: the house in %s listens on %s.\n", path, read.where(), read.Listen)
			return nil
		},
	})
	return group
}

// complete fills in the defaults.
func (c *configuration) complete() {
	if c.Data == "" {
		c.Data = defaultData
	}
	if c.Listen == "" {
		c.Listen = defaultListen
	}
}

func (c configuration) where() string {
	if c.Database != "" {
		return "PostgreSQL"
	}
	return c.Data
}
