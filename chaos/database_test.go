package chaos

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/store/pgtest"
)

func TestWithItsDatabaseKilledAndItsConnectionsCutNothingIsLostHalfDoneOrDoneTwice(t *testing.T) {
	t.Parallel()
	for round := range rounds(1) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			chance := seeded(t)
			server := pgtest.OwnServer(t)
			wire, database := databaseWire(t, server.Database(migrate))
			h := onDatabase(t, 3, database)
			l := h.begin(chance)
			disturbances := []func(){
				func() { server.Kill(); server.Start() },
				func() { wire.cut(t, chance) },
				func() { wire.cut(t, chance) },
				func() { wire.cut(t, chance) },
			}
			for _, i := range chance.Perm(len(disturbances)) {
				<-time.After(time.Duration(chance.IntN(int(time.Second))))
				disturbances[i]()
			}
			h.check(l.end())
		})
	}
}

// databaseWire returns a wire before a database, and the database's address at the
// near end of it.
func databaseWire(t *testing.T, database string) (*wire, string) {
	t.Helper()
	address, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	// /tmp and not the folder for temporary files: the path of a socket is short.
	dir, err := os.MkdirTemp("/tmp", "countersign-wire-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const socket = ".s.PGSQL.5432"
	behind := filepath.Join(address.Query().Get("host"), socket)
	listener, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	address.RawQuery = url.Values{"host": {dir}}.Encode()
	return newWire(t, listener, func() (net.Conn, error) { return net.Dial("unix", behind) }), address.String()
}
