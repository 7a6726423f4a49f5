package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Code is the stable, machine-readable reason of an error (inference.md section 5.1).
type Code string

// The codes of errors that a request can meet.
const (
	InvalidJSON          Code = "invalid_json"
	InvalidValue         Code = "invalid_value"
	UnsupportedParameter Code = "unsupported_parameter"
	UnsupportedValue     Code = "unsupported_value"
	RemoteMediaRefused   Code = "remote_media_refused"
	ContextLength        Code = "context_length_exceeded"
	PriceLimit           Code = "price_limit_exceeded"
	InvalidAPIKey        Code = "invalid_api_key"
	Unauthorized         Code = "unauthorized"
	InsufficientQuota    Code = "insufficient_quota"
	KeyBudgetExceeded    Code = "key_budget_exceeded"
	ModelNotFound        Code = "model_not_found"
	UnknownURL           Code = "unknown_url"
	MethodNotAllowed     Code = "method_not_allowed"
	NotFound             Code = "not_found"
	SessionNotAccepted   Code = "session_not_accepted"
	RequestTooLarge      Code = "request_too_large"
	UnsupportedMedia     Code = "unsupported_media_type"
	RateLimitExceeded    Code = "rate_limit_exceeded"
	NoWorkers            Code = "no_workers"
	NoProxy              Code = "no_proxy"
	ProxyDisabled        Code = "proxy_disabled"
	ChannelClosing       Code = "channel_closing"
	ConfigVersion        Code = "config_version"
	VerificationFailed   Code = "upstream_verification_failed"
	EncryptionKeyUnknown Code = "encryption_key_unknown"
	WorkerLost           Code = "worker_lost"
	EngineError          Code = "engine_error"
	EngineAbort          Code = "engine_abort"
	EngineTruncated      Code = "engine_truncated"
	MalformedEvent       Code = "malformed_event"
	EventTooLarge        Code = "event_too_large"
	WorkerProtocol       Code = "worker_protocol_error"
	ReceiptInvalid       Code = "receipt_invalid"
	SlowReader           Code = "slow_reader"
	Timeout              Code = "timeout"
	Cancelled            Code = "cancelled"
	NotOffered           Code = "not_offered"
)

// class is what a code means over HTTP.
type class struct {
	status int
	typ    string
	// null codes are named by their type alone: the error object says code null.
	null bool
	// final errors stay whatever a client repeats, although their status says otherwise.
	final bool
}

const (
	badRequest = "invalid_request_error"
	serverSide = "server_error"
)

// classOf is the table of inference.md section 5.1.
func classOf(c Code) class {
	classes := map[Code]class{
		InvalidJSON:          {status: 400, typ: badRequest},
		InvalidValue:         {status: 400, typ: badRequest},
		UnsupportedParameter: {status: 400, typ: badRequest},
		UnsupportedValue:     {status: 400, typ: badRequest},
		RemoteMediaRefused:   {status: 400, typ: badRequest},
		ContextLength:        {status: 400, typ: badRequest},
		PriceLimit:           {status: 400, typ: badRequest},
		InvalidAPIKey:        {status: 401, typ: "authentication_error"},
		Unauthorized:         {status: 401, typ: "authentication_error"},
		InsufficientQuota:    {status: 402, typ: "insufficient_quota"},
		KeyBudgetExceeded:    {status: 402, typ: "insufficient_quota"},
		ModelNotFound:        {status: 404, typ: badRequest},
		UnknownURL:           {status: 404, typ: badRequest},
		NotFound:             {status: 404, typ: badRequest},
		MethodNotAllowed:     {status: 405, typ: badRequest},
		SessionNotAccepted:   {status: 412, typ: string(SessionNotAccepted), null: true},
		RequestTooLarge:      {status: 413, typ: badRequest},
		UnsupportedMedia:     {status: 415, typ: badRequest},
		RateLimitExceeded:    {status: 429, typ: "rate_limit_error"},
		NoWorkers:            {status: 503, typ: serverSide, final: true},
		NoProxy:              {status: 503, typ: serverSide},
		ProxyDisabled:        {status: 503, typ: serverSide},
		ChannelClosing:       {status: 503, typ: serverSide},
		ConfigVersion:        {status: 503, typ: serverSide},
		EncryptionKeyUnknown: {status: 503, typ: serverSide},
		VerificationFailed:   {status: 503, typ: string(VerificationFailed), null: true, final: true},
		WorkerLost:           {status: 502, typ: serverSide},
		EngineError:          {status: 502, typ: serverSide},
		EngineAbort:          {status: 502, typ: serverSide},
		EngineTruncated:      {status: 502, typ: serverSide},
		MalformedEvent:       {status: 502, typ: serverSide},
		EventTooLarge:        {status: 502, typ: serverSide},
		WorkerProtocol:       {status: 502, typ: serverSide},
		ReceiptInvalid:       {status: 502, typ: serverSide, final: true},
		Timeout:              {status: 504, typ: serverSide},
		SlowReader:           {status: 503, typ: serverSide},
		Cancelled:            {status: 499, typ: badRequest},
		NotOffered:           {status: 501, typ: badRequest, final: true},
	}
	if k, ok := classes[c]; ok {
		return k
	}
	return class{status: http.StatusInternalServerError, typ: serverSide}
}

// Error is a refusal that reaches the caller of the API. Its message names the input, the rule and the next step, and
// never quotes what the caller sent.
type Error struct {
	Code Code
	// Param is the field at fault, or empty.
	Param   string
	Message string
	// RequestID is x-request-id; empty when the request got none.
	RequestID string
	// RetryAfter asks for a pause before the next attempt; 0 gives no advice.
	RetryAfter time.Duration
	// TL is the error code of the network's protocol behind it, 0 when there is none.
	TL int
}

// Error is the code and the message.
func (e *Error) Error() string {
	if e.Param != "" {
		return fmt.Sprintf("%s: %s: %s", e.Code, e.Param, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Status is the HTTP status.
func (e *Error) Status() int { return classOf(e.Code).status }

// body is the error object of the OpenAI API; all four keys are always there.
type body struct {
	Message   string  `json:"message"`
	Type      string  `json:"type"`
	Param     *string `json:"param"`
	Code      *string `json:"code"`
	RequestID string  `json:"request_id,omitempty"`
}

// Body is the JSON document, without a line end: the body of a response, or the data of an event in a stream.
func (e *Error) Body() []byte {
	k := classOf(e.Code)
	doc := struct {
		Error     body `json:"error"`
		ErrorCode int  `json:"error_code,omitempty"`
	}{Error: body{Message: e.Message, Type: k.typ, RequestID: e.RequestID}, ErrorCode: e.TL}
	if e.Param != "" {
		doc.Error.Param = &e.Param
	}
	if code := string(e.Code); !k.null {
		doc.Error.Code = &code
	}
	out, err := json.Marshal(doc)
	if err != nil { // strings and integers always encode
		return []byte(`{"error":{"message":"","type":"server_error","param":null,"code":null}}`)
	}
	return out
}

// Write answers an HTTP request with the error.
func (e *Error) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if e.RequestID != "" {
		h.Set("X-Request-Id", e.RequestID)
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
		h.Set("Retry-After-Ms", strconv.FormatInt(e.RetryAfter.Milliseconds(), 10))
	}
	if e.Status() == http.StatusUnauthorized {
		h.Set("Www-Authenticate", "Bearer") // RFC 9110 section 15.5.2
	}
	if classOf(e.Code).final {
		h.Set("X-Should-Retry", "false")
	}
	out := e.Body()
	h.Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(e.Status())
	_, _ = w.Write(out) // the caller is gone when this does not succeed
}
