package backup

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/countersign/countersign"
)

// longestManifest is how many bytes a manifest may have.
const longestManifest = 1 << 20

// Archive is an archive that is read.
type Archive struct {
	Manifest Manifest
	parts    map[string]*zip.File
}

func damaged(format string, args ...any) *countersign.Error {
	return countersign.Errorf(countersign.Invalid, "damaged-archive", "the archive is damaged: %s; take another one", fmt.Sprintf(format, args...))
}

// Open reads the manifest and compares the names of the parts with it. Bytes
// that are no archive, or one of a later form, are an Invalid error.
func Open(file io.ReaderAt, size int64) (*Archive, error) {
	opened, err := zip.NewReader(file, size)
	if err != nil {
		return nil, countersign.Errorf(countersign.Invalid, "not-an-archive", "this is no archive of a house, or it was cut off: %v", err).Because(err)
	}
	archive := &Archive{parts: map[string]*zip.File{}}
	for _, part := range opened.File {
		if _, twice := archive.parts[part.Name]; twice {
			return nil, damaged("the part %q stands there twice", countersign.Clip(part.Name))
		}
		archive.parts[part.Name] = part
	}
	part, there := archive.parts[manifestPart]
	if !there {
		return nil, countersign.Errorf(countersign.Invalid, "not-an-archive", "this is no archive of a house: it has no %s", manifestPart)
	}
	if archive.Manifest, err = readManifest(part); err != nil {
		return nil, err
	}
	named := map[string]bool{manifestPart: true}
	for _, table := range archive.Manifest.Tables {
		name := tablesFolder + table.Name
		if archive.parts[name] == nil || named[name] {
			return nil, damaged("the manifest names the part %q, which is not there once", countersign.Clip(name))
		}
		named[name] = true
		for _, column := range table.Columns {
			if !slices.Contains([]Type{Text, Integer, Bytes}, column.Type) {
				return nil, damaged("the column %s of the table %s has the type %q", countersign.Clip(column.Name), countersign.Clip(table.Name), countersign.Clip(string(column.Type)))
			}
		}
	}
	for name := range archive.parts {
		if !named[name] {
			return nil, damaged("the manifest does not name the part %q", countersign.Clip(name))
		}
	}
	return archive, nil
}

func readManifest(part *zip.File) (Manifest, error) {
	var manifest Manifest
	content, err := part.Open()
	if err != nil {
		return manifest, damaged("its manifest cannot be read: %v", err)
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, longestManifest))
	if err != nil {
		return manifest, damaged("its manifest cannot be read: %v", err)
	}
	// The format comes first: a later one may have more keys.
	var form struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return manifest, damaged("its manifest is no JSON: %v", err)
	}
	if form.Format != Format {
		return manifest, countersign.Errorf(countersign.Invalid, "archive-format", "the archive has the format %d, and this version of countersign reads %d: use the version that wrote it", form.Format, Format)
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&manifest); err != nil {
		return manifest, damaged("its manifest cannot be read: %v", err)
	}
	return manifest, nil
}

// Check reads every part and compares it with the manifest.
func (a *Archive) Check(ctx context.Context) error {
	for _, table := range a.Manifest.Tables {
		for _, err := range a.Rows(table) {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Rows reads a table: a string, int64 or []byte for each column. An error is the
// last that it yields; without one the table was what the manifest says.
func (a *Archive) Rows(table Table) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		part, err := a.parts[tablesFolder+table.Name].Open()
		if err != nil {
			yield(nil, damaged("the table %s cannot be read: %v", table.Name, err))
			return
		}
		defer part.Close()
		digest := sha256.New()
		decoder := json.NewDecoder(io.TeeReader(part, digest))
		decoder.UseNumber()
		var rows int64
		for {
			var line []any
			if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				yield(nil, damaged("row %d of the table %s cannot be read: %v", rows+1, table.Name, err))
				return
			}
			rows++
			if err := values(line, table.Columns); err != nil {
				yield(nil, damaged("row %d of the table %s: %v", rows, table.Name, err))
				return
			}
			if !yield(line, nil) {
				return
			}
		}
		switch sum := hex.EncodeToString(digest.Sum(nil)); {
		case rows != table.Rows:
			yield(nil, damaged("the table %s has %d rows, and the manifest says %d", table.Name, rows, table.Rows))
		case sum != table.SHA256:
			yield(nil, damaged("the table %s has the SHA-256 %s, and the manifest says %s", table.Name, sum, countersign.Clip(table.SHA256)))
		}
	}
}

// values turns what JSON gives into values of the columns.
func values(line []any, columns []Column) error {
	if len(line) != len(columns) {
		return fmt.Errorf("it has %d values for %d columns", len(line), len(columns))
	}
	for i, column := range columns {
		var err error
		switch value := line[i].(type) {
		case string:
			if column.Type == Bytes {
				line[i], err = base64.StdEncoding.DecodeString(value)
			} else if column.Type != Text {
				err = errors.New("it is a text")
			}
		case json.Number:
			if line[i], err = value.Int64(); column.Type != Integer {
				err = errors.New("it is a number")
			}
		default:
			err = fmt.Errorf("it is neither text nor number")
		}
		if err != nil {
			return fmt.Errorf("the value of %s does not fit: %w", column.Name, err)
		}
	}
	return nil
}
