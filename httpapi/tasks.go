package httpapi

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// ListTasks answers what waits for the caller on systems without an interface.
func (a *api) ListTasks(ctx context.Context, _ ListTasksRequestObject) (ListTasksResponseObject, error) {
	list, err := a.tasks(ctx)
	return ListTasks200JSONResponse{list}, err
}

// DoneTask says that a task is done.
func (a *api) DoneTask(ctx context.Context, request DoneTaskRequestObject) (DoneTaskResponseObject, error) {
	list, err := a.onTask(ctx, request.Params.IfMatch, func(s *session) error {
		return a.Desk.TaskDone(ctx, s.caller, s.key, countersign.GrantID(request.Id), desk.TaskReport{Task: countersign.IntentID(request.Body.Task), Reason: request.Body.Reason})
	})
	return DoneTask200JSONResponse{list}, err
}

// RefuseTask says that a task cannot be done.
func (a *api) RefuseTask(ctx context.Context, request RefuseTaskRequestObject) (RefuseTaskResponseObject, error) {
	list, err := a.onTask(ctx, request.Params.IfMatch, func(s *session) error {
		return a.Desk.TaskRefuse(ctx, s.caller, s.key, countersign.GrantID(request.Id), desk.TaskReport{Task: countersign.IntentID(request.Body.Task), Reason: request.Body.Reason})
	})
	return RefuseTask200JSONResponse{list}, err
}

// CheckTask says what a second person found.
func (a *api) CheckTask(ctx context.Context, request CheckTaskRequestObject) (CheckTaskResponseObject, error) {
	report := desk.TaskReport{Task: countersign.IntentID(request.Body.Task), Reason: request.Body.Reason, Present: request.Body.Found == "present"}
	switch found, list := request.Body.Found, request.Body.List; {
	case found != "" && found != "present" && found != "absent":
		return nil, countersign.Errorf(countersign.Invalid, "malformed-finding", "What was found is present or absent, not %q.", countersign.Clip(found)).At("/found")
	case (found == "") == (list == ""):
		return nil, countersign.Errorf(countersign.Invalid, "malformed-finding", "Say either what was found, or bring the list of accounts.").At("/found")
	case list != "":
		report.List = []byte(list)
	}
	list, err := a.onTask(ctx, request.Params.IfMatch, func(s *session) error {
		return a.Desk.TaskCheck(ctx, s.caller, s.key, countersign.GrantID(request.Id), report)
	})
	return CheckTask200JSONResponse{list}, err
}

// onTask gives one command on a task, unless it was answered before under its key.
func (a *api) onTask(ctx context.Context, match string, command func(*session) error) (TaskListJSONResponse, error) {
	if err := a.once(ctx, match, command); err != nil {
		return TaskListJSONResponse{}, err
	}
	return a.tasks(ctx)
}

func (a *api) tasks(ctx context.Context) (TaskListJSONResponse, error) {
	tasks, err := a.Desk.Tasks(ctx, sessionOf(ctx).caller)
	return TaskListJSONResponse{Tasks: tasks}, err
}
