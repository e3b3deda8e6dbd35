package house

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/backup"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/sqlstore"
)

// Copied is an archive as it lies on the disk.
type Copied struct {
	backup.Manifest
	// Archive is the digest that names it.
	Archive countersign.Digest `json:"archive"`
	// Size of the file in bytes.
	Size int64 `json:"size"`
}

// Backup copies the house at a place into a new file at path, while others go on
// to work with it. The file takes its name when it is whole, on the disk, and was
// read back. The master key is not in it.
func Backup(ctx context.Context, place Place, options Options, path string) (copied Copied, err error) {
	h, opened, err := visit(ctx, place, options)
	if err != nil {
		return copied, err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	about, err := opened.House(ctx)
	if err != nil {
		return copied, err
	}
	manifest := backup.Manifest{House: about.Name, Sample: about.Sample}
	if manifest.MasterKey, err = masterKeyOf(ctx, opened); err != nil {
		return copied, err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return copied, errors.Join(countersign.Errorf(countersign.Conflict, "file-exists", "There is something at %s already: an archive is never replaced.", path), err)
	}
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*.part")
	if err != nil {
		return copied, countersign.Errorf(countersign.Invalid, "no-archive-file", "The archive cannot be made: %v", err).Because(err)
	}
	defer func() {
		err = errors.Join(err, part.Close())
		if left := os.Remove(part.Name()); !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
	}()
	if manifest.TakenAt, err = h.Desk.BackUp(ctx, OperatingSystemUser()); err != nil {
		return copied, err
	}
	if err = dump(ctx, opened, part, manifest); err != nil {
		return copied, err
	}
	archive, size, err := readArchive(ctx, part)
	if err != nil {
		return copied, err
	}
	copied.Manifest, copied.Size = archive.Manifest, size
	if copied.Archive, err = archive.Manifest.Digest(); err != nil {
		return copied, err
	}
	return copied, publish(part.Name(), path)
}

// dump writes the archive and waits for the disk.
func dump(ctx context.Context, from *sqlstore.Store, file *os.File, manifest backup.Manifest) error {
	buffered := bufio.NewWriterSize(file, 1<<20)
	writer := backup.NewWriter(buffered)
	var err error
	if manifest.Schema, err = from.Dump(ctx, writer); err != nil {
		return err
	}
	if _, err := writer.Close(manifest); err != nil {
		return err
	}
	return errors.Join(buffered.Flush(), file.Sync())
}

// readArchive opens an archive and compares all of it with its manifest.
func readArchive(ctx context.Context, file *os.File) (*backup.Archive, int64, error) {
	about, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	archive, err := backup.Open(file, about.Size())
	if err != nil {
		return nil, 0, err
	}
	return archive, about.Size(), archive.Check(ctx)
}

// publish gives a whole file its name, unless something has the name by now.
func publish(part, path string) error {
	err := os.Link(part, path)
	if errors.Is(err, fs.ErrExist) {
		return countersign.Errorf(countersign.Conflict, "file-exists", "There is something at %s by now: it is not replaced.", path).Because(err)
	}
	if err != nil {
		// Not every file system has second names.
		err = os.Rename(part, path)
	}
	if err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// masterKeyOf returns the id of the key that the house was founded with.
func masterKeyOf(ctx context.Context, opened *sqlstore.Store) (string, error) {
	item, err := opened.Shelf(keyShelf).Item(ctx, keyItem)
	if err != nil {
		return "", err
	}
	var sealed keys.Sealed
	err = json.Unmarshal(item.Body, &sealed)
	return sealed.DataKey.KeyID, err
}

// Restored is what a restore made.
type Restored struct {
	backup.Manifest
	Archive countersign.Digest `json:"archive"`
	// Parked counts operations that would give access and that a person looks at
	// first.
	Parked int                `json:"parked"`
	Record *desk.Verification `json:"record"`
}

// Restore makes the house anew at an empty place, out of the archive at path.
// Nothing is written before the whole archive was compared with its manifest and
// the key file has the key that the archive takes. With the embedded database all
// of it is there when it returns, or nothing; on PostgreSQL rows come in one
// transaction, and the house must not be served before Restore returned.
func Restore(ctx context.Context, place Place, options Options, path string, progress func(streams int64)) (restored Restored, err error) {
	file, err := os.Open(path)
	if err != nil {
		return restored, countersign.Errorf(countersign.NotFound, "no-archive", "There is no archive to read: %v", err).Because(err)
	}
	defer file.Close()
	archive, _, err := readArchive(ctx, file)
	if err != nil {
		return restored, err
	}
	restored.Manifest = archive.Manifest
	if restored.Archive, err = archive.Manifest.Digest(); err != nil {
		return restored, err
	}
	if err := place.holdsKey(archive.Manifest.MasterKey); err != nil {
		return restored, err
	}
	if place.Database != "" {
		if err := sqlstore.LoadPostgres(ctx, place.Database, archive); err != nil {
			return restored, err
		}
		if err := sqlstore.Migrate(ctx, place.Database); err != nil {
			return restored, err
		}
		return restored, restored.settle(ctx, place, options, progress)
	}
	if err := place.Prepare(); err != nil {
		return restored, err
	}
	lock, err := place.Lock()
	if err != nil {
		return restored, err
	}
	defer lock.Close()
	database := filepath.Join(place.Data, databaseName)
	for _, side := range []string{"", "-wal", "-shm", "-journal"} {
		if _, err := os.Lstat(database + side); !errors.Is(err, fs.ErrNotExist) {
			return restored, errors.Join(countersign.Errorf(countersign.Conflict, "not-empty", "There is %s already: restore into a folder without a database.", database+side), err)
		}
	}
	folder, err := os.MkdirTemp(place.Data, "restoring-*")
	if err != nil {
		return restored, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	part := Place{Data: folder, KeyFile: place.keyFile()}
	if err := sqlstore.LoadSQLite(ctx, filepath.Join(folder, databaseName), archive); err != nil {
		return restored, err
	}
	migrated, err := part.open(ctx, true, options.Log)
	if err != nil {
		return restored, err
	}
	if err := migrated.Close(); err != nil {
		return restored, err
	}
	if err := restored.settle(ctx, part, options, progress); err != nil {
		return restored, err
	}
	// The file alone takes the place, so all of it must be in the file.
	if log, err := os.Stat(filepath.Join(folder, databaseName+"-wal")); err == nil && log.Size() > 0 {
		return restored, countersign.Errorf(countersign.Internal, "log-left", "the restored database keeps a log beside its file; nothing was put in place")
	}
	return restored, publish(filepath.Join(folder, databaseName), database)
}

// settle puts the restore on the record of the house that was loaded, parks what
// would give access, and checks the record.
func (r *Restored) settle(ctx context.Context, place Place, options Options, progress func(streams int64)) error {
	h, opened, err := visit(ctx, place, options)
	if err != nil {
		return err
	}
	restoration := desk.Restoration{TakenAt: r.TakenAt, Archive: r.Archive, OperatingSystemUser: OperatingSystemUser()}
	if r.Parked, err = h.Desk.Restored(ctx, restoration); err == nil {
		r.Record, err = desk.Verify(ctx, opened, progress)
	}
	return errors.Join(err, opened.Close())
}

// holdsKey refuses a key file that does not open what is sealed.
func (p Place) holdsKey(id string) error {
	file, err := p.master(false)
	if countersign.ReasonOf(err) == "no-key-file" {
		return countersign.Errorf(countersign.NotFound, "no-key-file", "The archive takes the master key %s, and there is no key file at %s: bring it from where it is kept, with the mode 0600.", countersign.Clip(id), p.keyFile())
	}
	if err == nil && !file.Holds(id) {
		err = countersign.Errorf(countersign.Refused, "wrong-key-file", "The archive takes the master key %s, and the key file %s does not hold it.", countersign.Clip(id), p.keyFile())
	}
	return err
}
