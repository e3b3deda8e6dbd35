package directory_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
)

func folder() fstest.MapFS {
	return fstest.MapFS{
		"organisation.yaml":      {Data: []byte("name: Meridian\n")},
		"README.md":              {Data: []byte("hello")},
		"directory/people.yaml":  {Data: []byte(twoPeople)},
		"directory/groups.yaml":  {Data: []byte("groups: []\n")},
		"directory/.people.yaml": {Data: []byte("an editor's swap file")},
		"directory/NOTES.txt":    {Data: []byte("notes")},
		"policies/api-key.yaml":  {Data: []byte("request: api-key\n")},
	}
}

func TestAnOrganisationFolderIsReadInOrder(t *testing.T) {
	files, err := directory.ReadOrganisation(folder())
	if err != nil {
		t.Fatal(err)
	}
	if files.Name != "Meridian" || len(files.Directory) != 2 || len(files.Policies) != 1 {
		t.Fatalf("read %+v", files)
	}
	if files.Directory[0].Path != "directory/groups.yaml" || files.Directory[1].Path != "directory/people.yaml" || files.Policies[0].Path != "policies/api-key.yaml" {
		t.Errorf("the files are %s, %s and %s", files.Directory[0].Path, files.Directory[1].Path, files.Policies[0].Path)
	}
	if string(files.Directory[1].Bytes) != twoPeople {
		t.Error("the bytes are not those of the file")
	}
}

func TestAFolderWithASlipIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		path, content, wanted string
	}{
		"no organisation.yaml": {"organisation.yaml", "-", "the organisation folder has no organisation.yaml"},
		"an empty one":         {"organisation.yaml", "", `organisation.yaml:1:1: organisation.yaml needs the key "name"`},
		"a misspelt key":       {"organisation.yaml", "name: Meridian\ntitel: x\n", `organisation.yaml:2:1: "titel" is not a key of organisation.yaml; the keys are name`},
		"another ending":       {"directory/teams.yml", "teams: []", "directory/teams.yml is not read; name it directory/teams.yaml"},
		"a folder inside":      {"policies/keys/api.yaml", "request: x", "policies/keys is a folder; only files directly in policies are read"},
		"no policies":          {"policies/api-key.yaml", "-", "the organisation folder has no policies"},
		"a large file":         {"directory/large.yaml", strings.Repeat("#", directory.MaxFile+1), "directory/large.yaml has more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := maps.Clone(folder())
			fsys[test.path] = &fstest.MapFile{Data: []byte(test.content)}
			if test.content == "-" {
				delete(fsys, test.path)
			}
			_, err := directory.ReadOrganisation(fsys)
			if err == nil || err.Error() != test.wanted {
				t.Errorf("the error is %v", err)
			}
			if kind := countersign.KindOf(err); kind != countersign.Invalid && kind != countersign.TooLarge {
				t.Errorf("the error is of the kind %q", kind)
			}
		})
	}
}

// A mounted configuration is full of links; what they lead to decides.
func TestALinkToAFileIsReadAndAPipeIsNot(t *testing.T) {
	fsys := folder()
	fsys["directory/pipe.yaml"] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
	if _, err := directory.ReadOrganisation(fsys); err == nil || err.Error() != "directory/pipe.yaml is not a regular file" {
		t.Errorf("a pipe: %v", err)
	}

	root := t.TempDir()
	for path, file := range folder() {
		target := filepath.Join(root, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("people.yaml", filepath.Join(root, "directory", "same.yaml")); err != nil {
		t.Skip("no links here")
	}
	files, err := directory.ReadOrganisation(os.DirFS(root))
	if err != nil || len(files.Directory) != 3 {
		t.Errorf("read %d files: %v", len(files.Directory), err)
	}
}
