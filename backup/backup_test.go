package backup

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/countersign/countersign"
)

// written is an archive with one table of each type.
func written(t testing.TB, rows ...[]any) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := NewWriter(&out)
	if err := writer.Table("things", []Column{{"name", Text}, {"count", Integer}, {"body", Bytes}}); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := writer.Row(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Table("none", []Column{{"id", Text}}); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Close(Manifest{House: "Test", Schema: 3, TakenAt: 1769850000123, MasterKey: "mk-1"}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnArchiveIsReadAsItWasWritten(t *testing.T) {
	rows := [][]any{{"é<&>\u2028", int64(-1 << 63), []byte{0, 255}}, {"", int64(1<<63 - 1), []byte{}}}
	content := written(t, rows...)
	archive, err := Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if m := archive.Manifest; m.Format != Format || m.House != "Test" || m.Schema != 3 || m.TakenAt != 1769850000123 || m.MasterKey != "mk-1" || len(m.Tables) != 2 || m.Rows() != 2 {
		t.Errorf("the manifest is %+v", m)
	}
	var got [][]any
	for values, err := range archive.Rows(archive.Manifest.Tables[0]) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, values)
	}
	if !slices.EqualFunc(got, rows, func(a, b []any) bool {
		return a[0] == b[0] && a[1] == b[1] && bytes.Equal(a[2].([]byte), b[2].([]byte))
	}) {
		t.Errorf("read %v, written %v", got, rows)
	}
	if err := archive.Check(context.Background()); err != nil {
		t.Error(err)
	}
	one, err := archive.Manifest.Digest()
	if err != nil {
		t.Fatal(err)
	}
	archive.Manifest.Tables[0].SHA256 = archive.Manifest.Tables[1].SHA256
	if other, err := archive.Manifest.Digest(); err != nil || other == one {
		t.Errorf("another manifest has the same digest %s (%v)", other, err)
	}
	if err := archive.Check(context.Background()); countersign.ReasonOf(err) != "damaged-archive" {
		t.Errorf("another digest: got %v", err)
	}
	archive.Manifest.Tables[0].Rows++
	if err := archive.Check(context.Background()); countersign.ReasonOf(err) != "damaged-archive" {
		t.Errorf("another number of rows: got %v", err)
	}
}

func TestATextThatIsNoneIsNotCopied(t *testing.T) {
	writer := NewWriter(&bytes.Buffer{})
	if err := writer.Table("things", []Column{{"name", Text}}); err != nil {
		t.Fatal(err)
	}
	if err := writer.Row([]any{"\xff"}); countersign.ReasonOf(err) != "damaged-row" {
		t.Errorf("got %v", err)
	}
}

func TestEveryBitOfAnArchiveCounts(t *testing.T) {
	content := written(t, []any{"a name", int64(1), []byte("the body of it")})
	for at := range content {
		changed := bytes.Clone(content)
		changed[at] ^= 0x10
		archive, err := Open(bytes.NewReader(changed), int64(len(changed)))
		if err == nil {
			err = archive.Check(context.Background())
		}
		if err == nil {
			// Times and the notes of ZIP that nobody reads may change; rows and manifest
			// are what they were.
			was, _ := Open(bytes.NewReader(content), int64(len(content)))
			one, _ := was.Manifest.Digest()
			if other, _ := archive.Manifest.Digest(); one != other {
				t.Fatalf("byte %d: another manifest passes", at)
			}
			continue
		}
		if countersign.KindOf(err) != countersign.Invalid {
			t.Fatalf("byte %d: got %v", at, err)
		}
	}
}

// FuzzOpen: whatever the bytes are, they are no archive, or one of which each row
// has a value for each column.
func FuzzOpen(f *testing.F) {
	f.Add(written(f))
	f.Add(written(f, []any{"a", int64(1), []byte("b")}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, content []byte) {
		archive, err := Open(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			if countersign.KindOf(err) != countersign.Invalid {
				t.Fatalf("%v is not Invalid", err)
			}
			return
		}
		for _, table := range archive.Manifest.Tables {
			for values, err := range archive.Rows(table) {
				if err != nil && countersign.KindOf(err) != countersign.Invalid || err == nil && len(values) != len(table.Columns) {
					t.Fatalf("the table %q: %v, %v", table.Name, values, err)
				}
			}
		}
	})
}
