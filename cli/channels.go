package cli

import (
	"os"
	"strings"
	"time"

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
