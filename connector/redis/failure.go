package redis

import (
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/connector"
)

func rejected(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}

// errNoFile is the answer of a server that is to keep its users and has no place.
var errNoFile = errors.New("the server is not configured to use an ACL file")

func noFile(err error) bool { return errors.Is(err, errNoFile) }

// failed turns an error of the client into what the engine should do. No command
// carries a password, so no answer repeats one; an unknown one counts as worth a
// try.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var told goredis.Error
	if !errors.As(err, &told) {
		return &connector.Failure{Kind: connector.Transient, Message: "the Redis server did not answer", Cause: err}
	}
	text := told.Error()
	switch {
	case strings.Contains(text, "not configured to use an ACL file"):
		return &connector.Failure{Kind: connector.Rejected, Message: "the Redis server would lose its users at a restart: set aclfile in its configuration, or persistence: none for the connector", Cause: errNoFile}
	case strings.HasPrefix(text, "NOPERM"), strings.HasPrefix(text, "ERR Error in ACL SETUSER"), strings.HasPrefix(text, "ERR unknown"), strings.HasPrefix(text, "ERR Unknown"):
		return &connector.Failure{Kind: connector.Rejected, Message: "the Redis server refuses", Cause: err}
	}
	return &connector.Failure{Kind: connector.Transient, Message: "the Redis server did not do it", Cause: err}
}
