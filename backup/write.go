package backup

import (
	"archive/zip"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"unicode/utf8"

	"github.com/countersign/countersign"
)

// Writer writes an archive, table by table. It is whole when Close returned nil.
type Writer struct {
	zip    *zip.Writer
	tables []Table
	// part is what the rows of the last table go to; digest sums it up.
	part   *bufio.Writer
	rows   *json.Encoder
	digest hash.Hash
}

// NewWriter begins an archive.
func NewWriter(out io.Writer) *Writer { return &Writer{zip: zip.NewWriter(out)} }

// Table begins a table and ends the one before.
func (w *Writer) Table(name string, columns []Column) error {
	if err := w.end(); err != nil {
		return err
	}
	part, err := w.zip.Create(tablesFolder + name)
	if err != nil {
		return err
	}
	w.digest = sha256.New()
	w.part = bufio.NewWriterSize(io.MultiWriter(part, w.digest), 1<<16)
	w.rows = json.NewEncoder(w.part)
	w.rows.SetEscapeHTML(false)
	w.tables = append(w.tables, Table{Name: name, Columns: columns})
	return nil
}

// Row writes the next row of the table: a string, int64 or []byte for each
// column, by its type. The values are not kept.
func (w *Writer) Row(values []any) error {
	table := &w.tables[len(w.tables)-1]
	table.Rows++
	for i, value := range values {
		if text, is := value.(string); is && !utf8.ValidString(text) {
			return countersign.Errorf(countersign.Invalid, "damaged-row", "row %d of the table %s cannot be copied: its %s is no text", table.Rows, table.Name, table.Columns[i].Name)
		}
	}
	return w.rows.Encode(values)
}

func (w *Writer) end() error {
	if w.part == nil {
		return nil
	}
	if err := w.part.Flush(); err != nil {
		return err
	}
	w.tables[len(w.tables)-1].SHA256 = hex.EncodeToString(w.digest.Sum(nil))
	w.part = nil
	return nil
}

// Close writes the manifest and ends the archive. It returns the manifest with
// its format and its tables filled in.
func (w *Writer) Close(manifest Manifest) (Manifest, error) {
	if err := w.end(); err != nil {
		return manifest, err
	}
	manifest.Format, manifest.Tables = Format, w.tables
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return manifest, err
	}
	part, err := w.zip.Create(manifestPart)
	if err != nil {
		return manifest, err
	}
	if _, err := part.Write(append(text, '\n')); err != nil {
		return manifest, err
	}
	return manifest, w.zip.Close()
}
