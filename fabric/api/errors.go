package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// ErrorDetail is the metadata of an error response, and stands under "error" in the metadata of a failed operation.
type ErrorDetail struct {
	Code    fabric.Code `json:"code"`
	Reason  string      `json:"reason"`
	Message string      `json:"message"`
	Fix     string      `json:"fix,omitempty"`
}

// statuses is the one place where codes meet HTTP.
var statuses = map[fabric.Code]int{
	fabric.CodeInvalid:      http.StatusBadRequest,
	fabric.CodeForbidden:    http.StatusForbidden,
	fabric.CodeNotFound:     http.StatusNotFound,
	fabric.CodeConflict:     http.StatusConflict,
	fabric.CodeStale:        http.StatusPreconditionFailed,
	fabric.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	fabric.CodeNotSupported: http.StatusNotImplemented,
	fabric.CodeUnavailable:  http.StatusServiceUnavailable,
	fabric.CodeInternal:     http.StatusInternalServerError,
}

// detailOf is an error as the API shows it.
func detailOf(err error) ErrorDetail {
	d := ErrorDetail{Code: fabric.CodeOf(err), Reason: fabric.ReasonOf(err), Message: err.Error()}
	if e := (*fabric.Error)(nil); errors.As(err, &e) {
		d.Fix = e.Fix
		// What was wrapped around the error belongs to the message; the fix does not.
		if d.Fix != "" {
			d.Message = strings.TrimSuffix(d.Message, "; "+d.Fix)
		}
	}
	d.Message = strings.Join(strings.Fields(d.Message), " ")
	return d
}

// err is the error that was shown.
func (d ErrorDetail) err() error {
	return &fabric.Error{Code: d.Code, Reason: d.Reason, Message: d.Message, Fix: d.Fix}
}

// text is the error in one line.
func (d ErrorDetail) text() string {
	if d.Fix == "" {
		return d.Message
	}
	return d.Message + "; " + d.Fix
}

// errorOf is the error in an envelope, of ours or of another server of the dialect.
func errorOf(e *incusapi.Response) error {
	var d ErrorDetail
	if len(e.Metadata) > 0 && json.Unmarshal(e.Metadata, &d) == nil && d.Message != "" {
		return d.err()
	}
	for code, status := range statuses {
		if status == e.Code {
			return &fabric.Error{Code: code, Reason: "remote", Message: e.Error}
		}
	}
	return &fabric.Error{Code: fabric.CodeInternal, Reason: "remote", Message: e.Error}
}
