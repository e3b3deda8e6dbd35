package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

func TestReadsTakeTurnsAndACommandWaitsForNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{turns: make(chan struct{}, 2)}
		begun, goOn := 0, make(chan struct{})
		read := a.inTurn(func(context.Context, http.ResponseWriter, *http.Request, any) (any, error) {
			begun++
			<-goOn
			return nil, nil
		}, "")
		ended := make(chan error, 9)
		ask := func(ctx context.Context) {
			go func() {
				_, err := read(ctx, nil, httptest.NewRequest(http.MethodGet, "/", nil), nil)
				ended <- err
			}()
			synctest.Wait()
		}
		impatient, leave := context.WithCancel(t.Context())
		ask(t.Context())
		ask(t.Context())
		ask(t.Context())
		ask(impatient)
		if begun != 2 {
			t.Errorf("with two turns, %d reads are worked out at the same time", begun)
		}
		done := false
		command := a.inTurn(func(context.Context, http.ResponseWriter, *http.Request, any) (any, error) {
			done = true
			return nil, nil
		}, "")
		if _, err := command(t.Context(), nil, httptest.NewRequest(http.MethodPost, "/", nil), nil); err != nil || !done {
			t.Errorf("a command beside reads that take all turns: %v, %v", done, err)
		}
		leave()
		synctest.Wait()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("who goes away before the turn hears %v", err)
		}
		goOn <- struct{}{}
		synctest.Wait()
		if begun != 3 {
			t.Errorf("after one has ended, %d have begun", begun)
		}
		close(goOn)
		synctest.Wait()
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if len(a.turns) != 0 {
			t.Errorf("%d turns were not given back", len(a.turns))
		}
	})
}
