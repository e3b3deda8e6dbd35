// Package backup is the form of the one file that a house is copied into: a ZIP
// file with one part for each table, a row a line as a JSON array, and a manifest
// that says what they are. The form is the same for every database.
//
// It imports the root package only, opens no file and no database. An archive
// holds no key: what is sealed in it opens with the master key that the manifest
// names. After Check returns nil every part is, byte for byte, what the manifest
// says; that finds damage, and not somebody who writes another manifest, too.
package backup

import (
	"github.com/countersign/countersign"
)

// Format is the version of the form that this program writes, and the only one
// so far.
const Format = 1

// Parts of the ZIP file.
const (
	manifestPart = "manifest.json"
	tablesFolder = "tables/"
)

// Manifest says what an archive holds.
type Manifest struct {
	Format int `json:"format"`
	// House is the organisation's name; Sample marks a house of the sample.
	House  string `json:"house"`
	Sample bool   `json:"sample"`
	// Schema is the version of the database's schema that the tables belong to.
	Schema int64 `json:"schema"`
	// TakenAt is the time of the event that says that the house was copied; the
	// copy holds it, and nothing that was committed after the copy began.
	TakenAt countersign.Instant `json:"taken_at"`
	// MasterKey is the id of the key that opens what is sealed.
	MasterKey string  `json:"master_key"`
	Tables    []Table `json:"tables"`
}

// Table is one part: its rows are arrays with a value for each column.
type Table struct {
	Name    string   `json:"name"`
	Columns []Column `json:"columns"`
	Rows    int64    `json:"rows"`
	// SHA256 is that of the part, in hexadecimal: what sha256sum prints.
	SHA256 string `json:"sha256"`
}

// Column is one column of a table.
type Column struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
}

// Type says how the values of a column are written.
type Type string

const (
	// Text is a JSON string.
	Text Type = "text"
	// Integer is a JSON number without fraction; truth is 1 and 0.
	Integer Type = "integer"
	// Bytes is a JSON string in standard base 64.
	Bytes Type = "bytes"
)

// Rows is how many rows all tables have.
func (m Manifest) Rows() int64 {
	var all int64
	for _, table := range m.Tables {
		all += table.Rows
	}
	return all
}

// Digest names the archive: it follows from everything in it.
func (m Manifest) Digest() (countersign.Digest, error) {
	return countersign.DigestOf("backup-manifest", m)
}
