package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// read returns the bytes of evidence, which stands at the place.
func (evidence *EvidenceContent) read(at string) (desk.EvidenceContent, error) {
	read := desk.EvidenceContent{Slot: evidence.Slot, Content: []byte(evidence.Text)}
	if (evidence.Text == "") == (evidence.Base64 == "") {
		return read, countersign.Errorf(countersign.Invalid, "evidence-content", "Give the content of the evidence as one of text and base64.").At(at)
	}
	if evidence.Base64 != "" {
		content, err := base64.StdEncoding.Strict().DecodeString(evidence.Base64)
		if err != nil {
			return read, countersign.Errorf(countersign.Invalid, "malformed-base64", "This is not base64 with padding.").At(at + "/base64")
		}
		read.Content = content
	}
	return read, nil
}

// AttachEvidence fills an evidence slot.
func (a *api) AttachEvidence(ctx context.Context, request AttachEvidenceRequestObject) (AttachEvidenceResponseObject, error) {
	evidence, err := request.Body.read("")
	if err != nil {
		return nil, err
	}
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Attach(ctx, s.caller, s.key, id, evidence)
	})
	return AttachEvidence200JSONResponse{view}, err
}

// UploadEvidence fills an evidence slot with a file.
func (a *api) UploadEvidence(ctx context.Context, request UploadEvidenceRequestObject) (UploadEvidenceResponseObject, error) {
	content, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return placed(a.Desk.Attach(ctx, s.caller, s.key, id, desk.EvidenceContent{Slot: request.Slot, Content: content}), "/slot", "slot")
	})
	return UploadEvidence200JSONResponse{view}, err
}

// FetchEvidence fills an evidence slot with what its source says.
func (a *api) FetchEvidence(ctx context.Context, request FetchEvidenceRequestObject) (FetchEvidenceResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return placed(a.Desk.Fetch(ctx, s.caller, s.key, id, request.Slot), "/slot", "slot")
	})
	return FetchEvidence200JSONResponse{view}, err
}

// OpenEvidence answers the content of evidence. It takes no Idempotency-Key:
// whoever sends it again sees the content again, and that goes on the record, too.
func (a *api) OpenEvidence(ctx context.Context, request OpenEvidenceRequestObject) (OpenEvidenceResponseObject, error) {
	content, err := a.Desk.OpenEvidence(ctx, sessionOf(ctx).caller, countersign.RequestID(request.Id), request.Slot)
	if err != nil {
		return nil, placed(err, "/slot", "slot")
	}
	opened := OpenEvidence200JSONResponse{Slot: request.Slot, Digest: countersign.DigestBytes("evidence", content)}
	if readable(content) {
		opened.Text = string(content)
	} else {
		opened.Base64 = base64.StdEncoding.EncodeToString(content)
	}
	return opened, nil
}

// readable reports whether evidence can be shown as text without doing anything to
// what shows it.
func readable(content []byte) bool {
	return utf8.Valid(content) && !strings.ContainsFunc(string(content), func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' })
}

// placed names the place of an error as it is called in what was sent.
func placed(err error, desk, sent string) error {
	var known *countersign.Error
	if errors.As(err, &known) && known.Field == desk {
		return known.At(sent)
	}
	return err
}
