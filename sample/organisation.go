// Package sample holds Meridian, the invented organisation that a house can be
// born from to be tried out and toured: its people, groups, systems and
// policies, as the files that any organisation would write. It holds bytes only
// and never reads a disk; directory and policy read them like anybody's.
package sample

import (
	"embed"
	"io/fs"
)

//go:embed org targets
var embedded embed.FS

// Organisation returns the organisation folder of Meridian, for
// directory.ReadOrganisation.
func Organisation() fs.FS {
	folder, err := fs.Sub(embedded, "org")
	if err != nil {
		panic("sample: " + err.Error()) // "org" is a valid path, so this cannot happen.
	}
	return folder
}

// Targets returns the files that stand beside Meridian's own where the tour reaches a
// real system: of postgres, redis, ldap or ssh, as an organisation folder.
func Targets(name string) fs.FS {
	folder, err := fs.Sub(embedded, "targets/"+name)
	if err != nil {
		panic("sample: " + err.Error()) // It is a valid path, so this cannot happen.
	}
	return folder
}
