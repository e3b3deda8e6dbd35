package httpapi

import (
	"context"

	"github.com/countersign/countersign/directory"
)

// PlanDirectory compares files with the directory.
func (a *api) PlanDirectory(ctx context.Context, request PlanDirectoryRequestObject) (PlanDirectoryResponseObject, error) {
	difference, err := a.Desk.PlanDirectory(ctx, sessionOf(ctx).caller, request.Body.read())
	if err != nil {
		return nil, err
	}
	return PlanDirectory200JSONResponse(viewOfDifference(difference)), nil
}

// ApplyDirectory applies what needs no second person.
func (a *api) ApplyDirectory(ctx context.Context, request ApplyDirectoryRequestObject) (ApplyDirectoryResponseObject, error) {
	applied, err := a.Desk.ApplyDirectory(ctx, sessionOf(ctx).caller, request.Body.read())
	if err != nil {
		return nil, err
	}
	return ApplyDirectory200JSONResponse{Applied: viewOfDifference(applied.Applied), Refused: viewOfDifference(applied.Refused)}, nil
}

func (sent *DirectoryFiles) read() []directory.File {
	files := make([]directory.File, len(sent.Files))
	for i, file := range sent.Files {
		files[i] = directory.File{Path: file.Path, Bytes: []byte(file.Content)}
	}
	return files
}

func viewOfDifference(difference directory.Difference) Difference {
	view := Difference{Changes: make([]DirectoryChange, len(difference.Changes))}
	for i, change := range difference.Changes {
		view.Changes[i] = DirectoryChange{Verb: change.Verb, Noun: change.Noun, Name: change.Name, Standing: change.Standing, Fields: make([]FieldChange, len(change.Fields))}
		for k, field := range change.Fields {
			view.Changes[i].Fields[k] = FieldChange{Name: field.Name, Before: field.Before, After: field.After}
		}
	}
	return view
}
