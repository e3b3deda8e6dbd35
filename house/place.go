package house

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"syscall"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/sample"
	"github.com/countersign/countersign/store/sqlstore"
)

// Place is where a house is kept: a data folder with an embedded database, or a
// PostgreSQL database with a key file.
type Place struct {
	// Data is the data folder: database, key file and first token, unless Database
	// and KeyFile say otherwise.
	Data string
	// Database is a PostgreSQL URL; "" is the embedded database in Data.
	Database string
	KeyFile  string
}

const (
	databaseName = "countersign.db"
	keyName      = "master.key"
)

// Shared reports whether other processes can work on the same database.
func (p Place) Shared() bool { return p.Database != "" }

func (p Place) keyFile() string {
	if p.KeyFile != "" {
		return p.KeyFile
	}
	return filepath.Join(p.Data, keyName)
}

// Prepare makes the data folder, readable by its owner alone where it is new. All
// files in it are.
func (p Place) Prepare() error {
	if p.Data == "" || p.Database != "" {
		return nil
	}
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		return countersign.Errorf(countersign.Invalid, "no-data-folder", "The data folder cannot be made: %v", err).Because(err)
	}
	return nil
}

// open opens the database. Only with create set does it make a new one, in a data
// folder that was prepared, and migrate an embedded one of an older schema.
func (p Place) open(ctx context.Context, create bool, log *slog.Logger) (*sqlstore.Store, error) {
	if p.Database != "" {
		return sqlstore.OpenPostgres(ctx, p.Database, sqlstore.Options{Log: log})
	}
	path := filepath.Join(p.Data, databaseName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !create {
		return nil, countersign.Errorf(countersign.NotFound, "no-house", "There is no house in %s: start one with `countersign serve --data %s`, or name its data folder.", p.Data, p.Data)
	}
	return sqlstore.OpenSQLite(ctx, path, sqlstore.Options{Log: log, AsItIs: !create})
}

// master opens the key file. It is made with a new house: beside the embedded
// database, or where --key-file says. Every later replica needs the same one.
func (p Place) master(create bool) (*keys.File, error) {
	path := p.keyFile()
	if p.Database != "" && p.KeyFile == "" {
		return nil, countersign.Errorf(countersign.Invalid, "key-file-missing", "With --database, name the house's --key-file: every replica needs the same one.")
	}
	opened, err := keys.Open(path, rand.Reader)
	if err == nil {
		return opened, nil
	}
	if countersign.ReasonOf(err) == "no-key-file" && create {
		return keys.Create(path, rand.Reader)
	}
	return nil, err
}

// Lock keeps a second process from serving the same embedded database: what one
// refuses at once, the other would not know of. It lasts until the file is
// closed or the process ends, however it ends.
func (p Place) Lock() (io.Closer, error) {
	if p.Database != "" {
		return io.NopCloser(nil), nil
	}
	file, err := os.OpenFile(filepath.Join(p.Data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, countersign.Errorf(countersign.Invalid, "no-data-folder", "The data folder cannot be used: %v", err).Because(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(countersign.Errorf(countersign.Conflict, "served-already", "Another process serves the house in %s. Several can share a house on PostgreSQL only.", p.Data), file.Close())
	}
	return file, nil
}

// Start opens the house that is kept at a place, and founds it first if the
// database is empty: with the organisation folder, or with the sample where none
// is given. It returns whether it did.
func Start(ctx context.Context, place Place, organisation fs.FS, options Options) (h *House, founded bool, err error) {
	if err := place.Prepare(); err != nil {
		return nil, false, err
	}
	opened, err := place.open(ctx, true, options.Log)
	if err != nil {
		return nil, false, err
	}
	options.Store = opened
	defer func() {
		if err != nil {
			err = errors.Join(err, options.Store.Close())
		}
	}()
	_, err = options.Store.House(ctx)
	empty := countersign.KindOf(err) == countersign.NotFound
	if err != nil && !empty {
		return nil, false, err
	}
	master, err := place.master(empty)
	if err != nil {
		return nil, false, err
	}
	options.Master = master
	options.Shared = place.Shared()
	if h, err = Open(ctx, options); err != nil || !empty {
		return h, false, err
	}
	genesis := desk.Genesis{Sample: organisation == nil, OperatingSystemUser: OperatingSystemUser()}
	if organisation == nil {
		organisation = sample.Organisation()
	}
	if genesis.Files, err = directory.ReadOrganisation(organisation); err != nil {
		return nil, false, err
	}
	for _, folder := range options.Beside {
		beside, err := directory.ReadOrganisation(folder)
		if err != nil {
			return nil, false, err
		}
		genesis.Files.Directory = append(genesis.Files.Directory, beside.Directory...)
		genesis.Files.Policies = append(genesis.Files.Policies, beside.Policies...)
	}
	if err = h.Desk.Found(ctx, genesis); err != nil {
		return nil, false, err
	}
	return h, true, nil
}

// Visit opens a house for one command on its host, without running it. It
// follows nobody and is followed by nobody.
func Visit(ctx context.Context, place Place, options Options) (*House, error) {
	h, _, err := visit(ctx, place, options)
	return h, err
}

// visit also returns the storage, for what only its own form can do.
func visit(ctx context.Context, place Place, options Options) (h *House, opened *sqlstore.Store, err error) {
	if opened, err = place.open(ctx, false, options.Log); err != nil {
		return nil, nil, err
	}
	options.Store = opened
	if _, err = opened.House(ctx); err == nil {
		var master *keys.File
		if master, err = place.master(false); err == nil {
			options.Master = master
			h, err = Open(ctx, options)
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, opened.Close())
	}
	return h, opened, nil
}

// VerifyRecord checks the whole record of the house at a place. It needs no key
// and changes nothing; progress is told how many streams are done.
func VerifyRecord(ctx context.Context, place Place, progress func(streams int64)) (*desk.Verification, error) {
	opened, err := place.open(ctx, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return desk.Verify(ctx, opened, progress)
}

// Migrate brings a PostgreSQL database to this version's schema, as the role
// that owns it.
func Migrate(ctx context.Context, place Place) error {
	if place.Database == "" {
		return countersign.Errorf(countersign.Invalid, "nothing-to-migrate", "Name a PostgreSQL --database. The embedded database migrates itself, after a backup, when `serve` opens it.")
	}
	return sqlstore.Migrate(ctx, place.Database)
}

// OperatingSystemUser names who runs this process.
func OperatingSystemUser() string {
	if current, err := user.Current(); err == nil && current.Username != "" {
		return current.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
