package client

import "github.com/countersign/countersign"

// Content takes the typed content out of an answer: refusals have become errors
// on the way.
func Content[T any, R interface{ GetJSON200() *T }](response R, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	if content := response.GetJSON200(); content != nil {
		return content, nil
	}
	return nil, countersign.Errorf(countersign.Internal, "unexpected-answer", "the house answered with something else than was promised")
}

// Submitted takes the request out of the answer to a submit, new or repeated.
func Submitted(response *SubmitRequestResponse, err error) (*Request, error) {
	if err == nil && response.JSON201 != nil {
		return response.JSON201, nil
	}
	return Content(response, err)
}
