// Package logfile reads the log files that a target's host writes, or that are
// shipped from there: whole records, oldest file first, also across rotation.
//
// It knows no connector and no form of a record but its end. Nothing that is read
// is changed; a file that was renamed goes on where it was, and one that was
// truncated or replaced begins anew.
package logfile

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign"
)

// Files are the files of one log.
type Files struct {
	pattern string
	quoted  bool

	lock sync.Mutex
	read []mark
}

// mark is how far a file was read. Its first bytes tell it from another one that
// got its number later.
type mark struct {
	about  os.FileInfo
	head   []byte
	offset int64
}

const (
	// longest is the longest record; headBytes how much of a file tells it apart.
	longest   = 16 << 20
	headBytes = 256
)

// packed are the endings of files that are not read: a log that begins later than
// what one asks for says so by itself.
var packed = []string{".gz", ".bz2", ".xz", ".zst"}

// New returns the files that a pattern of path/filepath names, as
// /var/log/auth.log*. Quoted says that a record goes on after an end of line that
// stands between double quotes, as in CSV.
func New(pattern string, quoted bool) (*Files, error) {
	if _, err := filepath.Match(pattern, ""); err != nil || !filepath.IsAbs(pattern) {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-log-files", "the log files are named by an absolute path, perhaps with * as in /var/log/auth.log*, not %q", pattern)
	}
	return &Files{pattern: pattern, quoted: quoted}, nil
}

// String is the pattern.
func (f *Files) String() string { return f.pattern }

// Record is one whole record, without its end of line. Modified is when its file was
// changed last. It is valid until the next one.
type Record struct {
	Text     []byte
	Modified time.Time
}

// All calls found for each record of the files.
func (f *Files) All(ctx context.Context, found func(Record) error) error {
	files, err := f.open()
	defer closeAll(files)
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, err := f.records(ctx, file, found); err != nil {
			return err
		}
	}
	return nil
}

// Next calls found for each record that came since the last call, and at first for
// all. What found refused comes again.
func (f *Files) Next(ctx context.Context, found func(Record) error) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	files, err := f.open()
	defer closeAll(files)
	if err != nil {
		return err
	}
	var marks []mark
	for i, file := range files {
		next, err := f.since(file)
		if err == nil {
			var read int64
			read, err = f.records(ctx, file, found)
			next.offset += read
		}
		marks = append(marks, next)
		if err != nil {
			f.read = append(marks, f.unread(files[i+1:])...)
			return err
		}
	}
	f.read = marks
	return nil
}

// unread are the marks of files that were not come to.
func (f *Files) unread(files []file) []mark {
	var marks []mark
	for _, file := range files {
		if known := f.known(file); known != nil {
			marks = append(marks, *known)
		}
	}
	return marks
}

func (f *Files) known(file file) *mark {
	for i := range f.read {
		if os.SameFile(f.read[i].about, file.about) {
			return &f.read[i]
		}
	}
	return nil
}

// since goes to where the file was read to.
func (f *Files) since(file file) (mark, error) {
	head := make([]byte, min(headBytes, file.about.Size()))
	if _, err := file.ReadAt(head, 0); err != nil && err != io.EOF {
		return mark{}, unreadable(err)
	}
	next := mark{about: file.about, head: head}
	if known := f.known(file); known != nil && file.about.Size() >= known.offset && bytes.HasPrefix(head, known.head) {
		next.offset = known.offset
	}
	if _, err := file.Seek(next.offset, io.SeekStart); err != nil {
		return mark{}, unreadable(err)
	}
	return next, nil
}

// file is one that is open.
type file struct {
	*os.File
	about os.FileInfo
}

// open opens all of them at once, so that a rotation finds little time between, and
// the one that was changed last comes last.
func (f *Files) open() ([]file, error) {
	names, err := filepath.Glob(f.pattern)
	if err != nil {
		return nil, unreadable(err)
	}
	var files []file
	for _, name := range names {
		if slices.Contains(packed, filepath.Ext(name)) {
			continue
		}
		opened, err := os.Open(name)
		if os.IsNotExist(err) {
			continue // rotated away since
		}
		if err != nil {
			return files, unreadable(err)
		}
		about, err := opened.Stat()
		files = append(files, file{opened, about})
		if err != nil {
			return files, unreadable(err)
		}
		if !about.Mode().IsRegular() {
			return files, countersign.Errorf(countersign.Unavailable, "log-not-readable", "%s is no file", name)
		}
	}
	if len(files) == 0 {
		return nil, countersign.Errorf(countersign.Unavailable, "log-not-readable", "no file is named %s", f.pattern)
	}
	slices.SortStableFunc(files, func(x, y file) int {
		return cmp.Or(x.about.ModTime().Compare(y.about.ModTime()), cmp.Compare(x.Name(), y.Name()))
	})
	return files, nil
}

func closeAll(files []file) {
	for _, file := range files {
		file.Close()
	}
}

func unreadable(err error) error {
	return countersign.Errorf(countersign.Unavailable, "log-not-readable", "the log cannot be read: %v", err)
}

// records reads whole records from where the file stands, and returns how many bytes
// they took. The last one, while it is being written, is none yet.
func (f *Files) records(ctx context.Context, file file, found func(Record) error) (int64, error) {
	var read, record int64
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 64<<10), longest)
	lines.Split(func(data []byte, _ bool) (int, []byte, error) {
		inside := false
		for i, b := range data {
			if f.quoted && b == '"' {
				inside = !inside
			}
			if b == '\n' && !inside {
				record = int64(i + 1)
				return i + 1, data[:i], nil
			}
		}
		return 0, nil, nil
	})
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			return read, err
		}
		if err := found(Record{lines.Bytes(), file.about.ModTime()}); err != nil {
			return read, err
		}
		read += record
	}
	if err := lines.Err(); err != nil {
		return read, unreadable(err)
	}
	return read, nil
}
