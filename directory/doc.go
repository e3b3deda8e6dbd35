// Package directory reads the files of an organisation and compares them with
// the directory that is stored. Files are proposals: Parse says what they ask
// for, by name; Compare says what would change, by id, and which of the changes
// would give somebody approval standing, ownership or a power.
//
// It takes bytes and values and returns values: no clock, no randomness, no
// disk but the fs.FS that ReadOrganisation is given, and it never imports desk,
// workflow or policy. It writes nothing. What holds of an Organisation that
// Parse returned: every name in it exists, no handle belongs to two identities,
// nobody manages himself over any number of steps, and no group is inside
// itself.
package directory
