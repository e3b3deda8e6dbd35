package directory

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/countersign/countersign"
)

// Files is an organisation folder as it was read, not yet understood.
type Files struct {
	// Name is the organisation's name, from organisation.yaml.
	Name      string
	Directory []File
	Policies  []File
}

// ReadOrganisation reads a folder of the form
//
//	organisation.yaml    name: …
//	directory/*.yaml     for Parse
//	policies/*.yaml      for package policy
//
// in the order of the files' names. A file that would be passed over by a slip
// (a folder inside, another ending for YAML) is an error; names that begin with
// a dot and files of other kinds are no part of the organisation.
func ReadOrganisation(fsys fs.FS) (Files, error) {
	head, err := readFile(fsys, "organisation.yaml")
	if err != nil {
		return Files{}, err
	}
	var found problems
	var files Files
	r := &reader{file: head.Path, problems: &found}
	if root := r.root(head.Bytes); root != nil {
		r.mapping(root, "organisation.yaml", []string{"name"}, fields{"name": r.line(&files.Name)})
	} else if len(found.list) == 0 {
		found.add(spot{head.Path, 1, 1}, "organisation.yaml needs the key \"name\"")
	}
	if len(found.list) > 0 {
		return Files{}, countersign.Errorf(countersign.Invalid, "malformed-organisation", "%s", found.sorted()[0])
	}
	if files.Directory, err = readFolder(fsys, "directory"); err != nil {
		return Files{}, err
	}
	if files.Policies, err = readFolder(fsys, "policies"); err != nil {
		return Files{}, err
	}
	return files, nil
}

func readFolder(fsys fs.FS, folder string) ([]File, error) {
	entries, err := fs.ReadDir(fsys, folder)
	if err != nil {
		return nil, unreadable(folder, err)
	}
	var files []File
	for _, entry := range entries {
		name := path.Join(folder, entry.Name())
		switch extension := path.Ext(name); {
		case strings.HasPrefix(entry.Name(), "."):
		case entry.IsDir():
			return nil, countersign.Errorf(countersign.Invalid, "malformed-organisation", "%s is a folder; only files directly in %s are read", name, folder)
		case extension == ".yaml":
			file, err := readFile(fsys, name)
			if err != nil {
				return nil, err
			}
			files = append(files, file)
		case strings.EqualFold(extension, ".yml") || strings.EqualFold(extension, ".yaml"):
			return nil, countersign.Errorf(countersign.Invalid, "malformed-organisation", "%s is not read; name it %s.yaml", name, strings.TrimSuffix(name, extension))
		}
	}
	return files, nil
}

// readFile reads a regular file (a link to one, too) of at most MaxFile bytes.
func readFile(fsys fs.FS, name string) (File, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return File{}, unreadable(name, err)
	}
	if !info.Mode().IsRegular() {
		return File{}, countersign.Errorf(countersign.Invalid, "malformed-organisation", "%s is not a regular file", name)
	}
	file, err := fsys.Open(name)
	if err != nil {
		return File{}, unreadable(name, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return File{}, unreadable(name, err)
	}
	if len(content) > MaxFile {
		return File{}, countersign.Errorf(countersign.TooLarge, "file-too-large", "%s has more than %d bytes", name, MaxFile)
	}
	return File{Path: name, Bytes: content}, nil
}

func unreadable(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return countersign.Errorf(countersign.Invalid, "malformed-organisation", "the organisation folder has no %s", name).Because(err)
	}
	return countersign.Errorf(countersign.Invalid, "unreadable-organisation", "%s cannot be read: %v", name, err).Because(err)
}
