package api

import (
	"net/http/httptest"
	"testing"
	"time"
)

// TestEveryCodeHasItsStatus pins the table of inference.md section 5.1 and the headers that steer retries.
func TestEveryCodeHasItsStatus(t *testing.T) {
	for code, tc := range map[Code]struct {
		status int
		retry  string
	}{
		InvalidJSON: {400, ""}, InvalidValue: {400, ""}, UnsupportedParameter: {400, ""}, UnsupportedValue: {400, ""},
		RemoteMediaRefused: {400, ""}, ContextLength: {400, ""}, PriceLimit: {400, ""}, InvalidAPIKey: {401, ""},
		Unauthorized: {401, ""}, InsufficientQuota: {402, ""}, KeyBudgetExceeded: {402, ""}, ModelNotFound: {404, ""},
		UnknownURL: {404, ""}, NotFound: {404, ""}, MethodNotAllowed: {405, ""}, SessionNotAccepted: {412, ""},
		RequestTooLarge: {413, ""}, UnsupportedMedia: {415, ""}, RateLimitExceeded: {429, ""}, NoWorkers: {503, "false"},
		NoProxy: {503, ""}, ProxyDisabled: {503, ""}, ChannelClosing: {503, ""}, ConfigVersion: {503, ""},
		VerificationFailed: {503, "false"}, EncryptionKeyUnknown: {503, ""}, WorkerLost: {502, ""}, EngineError: {502, ""},
		EngineAbort: {502, ""}, EngineTruncated: {502, ""}, MalformedEvent: {502, ""}, EventTooLarge: {502, ""},
		WorkerProtocol: {502, ""}, ReceiptInvalid: {502, "false"}, Timeout: {504, ""}, SlowReader: {503, ""},
		Cancelled: {499, ""}, NotOffered: {501, "false"}, "something else": {500, ""},
	} {
		w := httptest.NewRecorder()
		(&Error{Code: code, Message: "m", RequestID: "req_0", RetryAfter: 1500 * time.Millisecond}).Write(w)
		h := w.Result().Header
		if w.Code != tc.status || h.Get("X-Should-Retry") != tc.retry {
			t.Errorf("%s: status %d, x-should-retry %q", code, w.Code, h.Get("X-Should-Retry"))
		}
		if h.Get("Retry-After") != "2" || h.Get("Retry-After-Ms") != "1500" || h.Get("X-Request-Id") != "req_0" ||
			h.Get("Content-Type") != "application/json" || (h.Get("WWW-Authenticate") == "Bearer") != (tc.status == 401) {
			t.Errorf("%s: headers %v", code, h)
		}
	}
}
