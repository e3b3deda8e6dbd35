package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/notify"
	"github.com/countersign/countersign/store"
)

const (
	// mostLines is how many notices one message gathers.
	mostLines = 50
	// toldAtOnce is how many notices one step takes.
	toldAtOnce = 100
)

// Tell sends what people are to be told by now, one message for each person and
// channel, and returns how many notices it took. A channel that is broken keeps
// its notices for later. When the context ends, the message under way is brought to
// its end, and the others are given back.
func (e *Engine) Tell(ctx context.Context) (int, error) {
	ended := ctx.Done()
	ctx = context.WithoutCancel(ctx)
	works, err := e.Store.Claim(ctx, store.Claim{Now: e.now(), Owner: e.Replica, Kinds: []store.WorkKind{store.NoticeWork}, Limit: toldAtOnce, Lease: desk.Lease})
	if err != nil {
		return 0, err
	}
	messages, silent, err := e.gather(ctx, works)
	err = errors.Join(err, e.Desk.Told(ctx, silent))
	// What one message meets, the next ones would: they are not tried now.
	broken := map[string]error{}
	for i, message := range messages {
		select {
		case <-ended:
			for _, unsent := range messages[i:] {
				err = errors.Join(err, e.Desk.Untried(ctx, unsent.works))
			}
			return len(works), err
		default:
		}
		name := message.channel.Name()
		if broken[name] == nil {
			broken[name] = message.channel.Send(ctx, message.named())
		}
		cause := broken[name]
		if cause == nil {
			err = errors.Join(err, e.Desk.Told(ctx, message.works))
			continue
		}
		e.Log.WarnContext(ctx, "a message was not delivered and will be tried again", "channel", name, "reason", countersign.ReasonOf(cause))
		err = errors.Join(err, e.Desk.NotTold(ctx, message.works, cause))
		if countersign.KindOf(cause) != countersign.Unavailable {
			broken[name] = nil // it is this message, and not the channel
		}
	}
	return len(works), err
}

// message is what one person is told through one channel.
type message struct {
	channel notify.Channel
	content notify.Message
	works   []store.Work
}

// gather sorts notices by person and channel. Silent are those that nobody hears:
// the person has left, the channel is gone or does not reach the person.
func (e *Engine) gather(ctx context.Context, works []store.Work) (messages []*message, silent []store.Work, failed error) {
	open := map[string]*message{}
	for _, work := range works {
		notice, err := e.Desk.Notice(ctx, work)
		if err != nil {
			failed = errors.Join(failed, e.Desk.NotTold(ctx, []store.Work{work}, err))
			continue
		}
		channel := e.channel(notice)
		if channel == nil {
			silent = append(silent, work)
			continue
		}
		key := notice.Channel + "/" + string(notice.To.ID)
		if open[key] == nil || len(open[key].works) == mostLines {
			open[key] = &message{channel: channel, content: notify.Message{To: recipient(notice)}}
			messages = append(messages, open[key])
		}
		open[key].works = append(open[key].works, work)
		open[key].content.Lines = append(open[key].content.Lines, notify.Line{
			Key: work.Key, Kind: notice.Kind, At: notice.At, Subject: notice.Subject, Text: notice.Text, About: notice.About,
		})
	}
	return messages, silent, failed
}

func recipient(notice *desk.Notice) notify.Recipient {
	return notify.Recipient{ID: notice.To.ID, Name: notice.To.Name, Email: notice.Email}
}

// channel returns what reaches the person, or nil.
func (e *Engine) channel(notice *desk.Notice) notify.Channel {
	if notice == nil {
		return nil
	}
	for _, channel := range e.Channels {
		if channel.Name() == notice.Channel && channel.Reaches(recipient(notice)) {
			return channel
		}
	}
	return nil
}

// named names the message after its lines, so that a retry is the same message.
func (m *message) named() notify.Message {
	keys := make([]string, len(m.works))
	for i, work := range m.works {
		keys[i] = work.Key
	}
	slices.Sort(keys)
	sum := sha256.Sum256([]byte(strings.Join(keys, "\n")))
	m.content.Key = "msg_" + hex.EncodeToString(sum[:16])
	return m.content
}
