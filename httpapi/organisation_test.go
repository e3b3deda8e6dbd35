package httpapi_test

import (
	"testing"

	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/sample"
)

// organisationFiles are the directory files of the sample, as a caller sends them.
func organisationFiles(t *testing.T) []object {
	t.Helper()
	files, err := directory.ReadOrganisation(sample.Organisation())
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]object, len(files.Directory))
	for i, file := range files.Directory {
		sent[i] = object{"path": file.Path, "content": string(file.Bytes)}
	}
	return sent
}
