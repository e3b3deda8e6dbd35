package cli

import (
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/notify"
)

// secretFile reads a secret that stands alone in a file.
func secretFile(path, what string) (countersign.Secret, error) {
	if path == "" {
		return countersign.Secret{}, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return countersign.Secret{}, invalid("%s cannot be read: %v", what, err)
	}
	return countersign.NewSecret(strings.TrimSpace(string(content))), nil
}

// channels opens the ways by which people are told.
func (c configuration) channels() ([]notify.Channel, error) {
	var channels []notify.Channel
	if c.Mail.Server != "" {
		password, err := secretFile(c.Mail.PasswordFile, "mail.password_file")
		if err != nil {
			return nil, err
		}
		options := notify.MailOptions{Server: c.Mail.Server, From: c.Mail.From, Username: c.Mail.Username, Password: password, TLS: notify.TLS(c.Mail.TLS)}
		if c.Mail.Templates != "" {
			if options.Templates, err = notify.ParseTemplates(os.DirFS(c.Mail.Templates)); err != nil {
				return nil, err
			}
		}
		mail, err := notify.NewMail(options)
		if err != nil {
			return nil, err
		}
		channels = append(channels, mail)
	}
	if c.Webhook.URL != "" {
		secret, err := secretFile(c.Webhook.SecretFile, "webhook.secret_file")
		if err != nil {
			return nil, err
		}
		webhook, err := notify.NewWebhook(notify.WebhookOptions{URL: c.Webhook.URL, Secret: secret, Now: time.Now})
		if err != nil {
			return nil, err
		}
		channels = append(channels, webhook)
	}
	return channels, nil
}

// credentials reads what the sources of tickets take.
func (c configuration) credentials() (map[string]countersign.Secret, error) {
	read := map[string]countersign.Secret{}
	for name, path := range c.SourceCredentials {
		secret, err := secretFile(path, "source_credentials."+name)
		if err != nil {
			return nil, err
		}
		read[name] = secret
	}
	return read, nil
}

// ticketingSettings are the secrets of one ticket system.
type ticketingSettings struct {
	// SecretFile holds what it signs with; CredentialFile what it takes as
	// Authorization.
	SecretFile     string `yaml:"secret_file"`
	CredentialFile string `yaml:"credential_file"`
}

// ticketing reads what ticket systems sign with, and what they take as
// Authorization.
func (c configuration) ticketing() (secrets, credentials map[string]countersign.Secret, err error) {
	secrets, credentials = map[string]countersign.Secret{}, map[string]countersign.Secret{}
	for name, files := range c.Ticketing {
		for _, one := range []struct {
			path, key string
			into      map[string]countersign.Secret
		}{{files.SecretFile, "secret_file", secrets}, {files.CredentialFile, "credential_file", credentials}} {
			if one.path == "" {
				return nil, nil, invalid("ticketing.%s takes a %s: what the ticket system signs with stands in the secret_file, and what it takes as Authorization in the credential_file", name, one.key)
			}
			if one.into[name], err = secretFile(one.path, "ticketing."+name+"."+one.key); err != nil {
				return nil, nil, err
			}
			if text := one.into[name].Reveal(); text == "" || strings.ContainsFunc(text, unicode.IsControl) {
				return nil, nil, invalid("ticketing.%s.%s: the file holds one line, and nothing else", name, one.key)
			}
		}
	}
	return secrets, credentials, nil
}
