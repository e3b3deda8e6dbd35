package logfile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/logfile"
)

// folder is where a log is written.
type folder struct {
	*testing.T
	path  string
	files *logfile.Files
	age   time.Duration
}

func newFolder(t *testing.T, quoted bool) *folder {
	f := &folder{T: t, path: t.TempDir()}
	var err error
	if f.files, err = logfile.New(filepath.Join(f.path, "log*"), quoted); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *folder) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// write adds to a file, later than all that was written before.
func (f *folder) write(name, text string) {
	f.Helper()
	path := filepath.Join(f.path, name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	f.must(err)
	_, err = file.WriteString(text)
	f.must(errors.Join(err, file.Close()))
	f.age += time.Second
	at := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC).Add(f.age)
	f.must(os.Chtimes(path, at, at))
}

func (f *folder) rename(from, to string) {
	f.must(os.Rename(filepath.Join(f.path, from), filepath.Join(f.path, to)))
}

// reads compares what comes.
func (f *folder) reads(read func(context.Context, func(logfile.Record) error) error, want ...string) {
	f.Helper()
	var got []string
	f.must(read(f.Context(), func(record logfile.Record) error {
		got = append(got, string(record.Text))
		return nil
	}))
	if !slices.Equal(got, want) {
		f.Errorf("it reads %q, and should read %q", got, want)
	}
}

func TestEachRecordComesOnceAcrossRotationTruncationAndReplacement(t *testing.T) {
	f := newFolder(t, false)
	f.write("log", "one\ntwo\nhal")
	f.reads(f.files.Next, "one", "two")
	f.write("log", "f\n")
	f.reads(f.files.Next, "half")
	f.reads(f.files.Next)

	f.write("log", "last\n")
	f.rename("log", "log.1")
	f.write("log", "first\n")
	f.reads(f.files.Next, "last", "first")
	f.reads(f.files.All, "one", "two", "half", "last", "first")

	// Copied and truncated.
	f.must(os.Truncate(filepath.Join(f.path, "log"), 0))
	f.write("log", "new\n")
	f.reads(f.files.Next, "new")

	// Truncated, and longer than before by now.
	f.must(os.Truncate(filepath.Join(f.path, "log"), 0))
	f.write("log", "newer, and longer\n")
	f.reads(f.files.Next, "newer, and longer")

	// Replaced.
	f.must(os.Remove(filepath.Join(f.path, "log")))
	f.write("log.2.gz", "packed\n")
	f.write("log", "other than the new one\n")
	f.reads(f.files.Next, "other than the new one")
}

func TestARecordThatWasRefusedComesAgain(t *testing.T) {
	f := newFolder(t, false)
	f.write("log.1", "one\ntwo\n")
	f.write("log", "three\n")
	refused := errors.New("not now")
	err := f.files.Next(t.Context(), func(record logfile.Record) error {
		if string(record.Text) == "two" {
			return refused
		}
		return nil
	})
	if !errors.Is(err, refused) {
		t.Errorf("the answer is %v", err)
	}
	f.reads(f.files.Next, "two", "three")
}

func TestAQuotedRecordSpansLines(t *testing.T) {
	f := newFolder(t, true)
	f.write("log", "a,\"b\nc \"\"d\"\"\",e\nf\n\"g\n")
	f.reads(f.files.Next, "a,\"b\nc \"\"d\"\"\",e", "f")
	f.write("log", "h\"\n")
	f.reads(f.files.Next, "\"g\nh\"")
}

func TestWhatCannotBeReadIsSaid(t *testing.T) {
	f := newFolder(t, false)
	if err := f.files.All(t.Context(), nil); countersign.ReasonOf(err) != "log-not-readable" {
		t.Errorf("without a file the answer is %v", err)
	}
	for _, pattern := range []string{"log", "/var/log/[", ""} {
		if _, err := logfile.New(pattern, false); countersign.ReasonOf(err) != "malformed-log-files" {
			t.Errorf("%q is answered with %v", pattern, err)
		}
	}
	f.must(os.Mkdir(filepath.Join(f.path, "log.d"), 0o700))
	if err := f.files.All(t.Context(), nil); countersign.ReasonOf(err) != "log-not-readable" {
		t.Errorf("a folder is answered with %v", err)
	}
}
