package pcs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cenkalti/backoff/v5"

	"cocoon/measure/dcap"
)

// Limits of one request (attestation.md section 11.1) and of the answers' parts.
const (
	// requestTimeout is what one attempt may take, from dialling to the last byte.
	requestTimeout = 10 * time.Second
	// fetchTimeout is what all requests for one platform may take together, with their repetitions.
	fetchTimeout = 45 * time.Second
	// maxResponse bounds a body; TCB info has 5 KiB today, the largest CRL 3 KiB.
	maxResponse = dcap.MaxResponse
	// maxHeader bounds a response's headers; an issuer chain has 3 KiB when URL-encoded.
	maxHeader = 64 << 10
	// maxTries bounds the attempts for one object within one fetch; the cache tries again later.
	maxTries = 3
	// firstPause and maxPause bound the pauses between those attempts, jitter included.
	firstPause = 200 * time.Millisecond
	maxPause   = 2 * time.Second
	// maxRetryAfter bounds the pause that a server may ask for.
	maxRetryAfter = 5 * time.Second
	// maxWords bounds what is repeated of a server's words in an error.
	maxWords = 200
	// maxReason bounds what net/http says about an answer that it cannot read.
	maxReason = 300

	userAgent = "cocoon-collateral/1"
)

// ErrNotFound means that a source has no such collateral: the platform is unknown there, or its TEE is not served.
var ErrNotFound = errors.New("not found")

// NewHTTPClient is the HTTP client that a Client uses by default: it follows no redirect, so that a source cannot point
// it elsewhere, keeps few connections and bounds headers. Requests bound their own time. Its transport may be adapted.
func NewHTTPClient() *http.Client { return newHTTPClient(false) }

func newHTTPClient(anyTLS bool) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: requestTimeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:    requestTimeout,
			ResponseHeaderTimeout:  requestTimeout,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    4,
			MaxResponseHeaderBytes: maxHeader,
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: anyTLS}, //nolint:gosec // see ClientConfig.AnyTLS
		},
	}
}

// answer is a complete response with status 200.
type answer struct {
	header http.Header
	body   []byte
}

// get asks for one object, several times if the trouble may pass.
func (c *Client) get(ctx context.Context, url string) (*answer, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, maxPause
	got, err := backoff.Retry(ctx, func() (*answer, error) { return c.attempt(ctx, url) },
		backoff.WithBackOff(pause), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(0))
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", url, err)
	}
	return got, nil
}

func (c *Client) attempt(parent context.Context, url string) (*answer, error) {
	ctx, cancel := context.WithTimeout(parent, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, backoff.Permanent(err)
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, harmless(unwrapURL(err))
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxResponse:
		return nil, backoff.Permanent(fmt.Errorf("the answer has more than %d bytes", maxResponse))
	}
	return &answer{resp.Header, body}, nil
}

// unwrapURL drops net/http's repetition of method and URL, which get adds once.
func unwrapURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// harmless bounds an error of net/http and takes out what a terminal would obey: it may repeat a header of the server's.
func harmless(err error) error {
	text := err.Error()
	strange := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(text) <= maxReason && !strings.ContainsFunc(text, strange) {
		return err
	}
	return errors.New(strings.Map(func(r rune) rune {
		if strange(r) {
			return '?'
		}
		return r
	}, text[:min(len(text), maxReason)]))
}

// statusError says which answers are worth another try of the same source.
func statusError(resp *http.Response) error {
	err := fmt.Errorf("answered %d%s", resp.StatusCode, words(resp.Body))
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == statusNoCacheData:
		return backoff.Permanent(fmt.Errorf("%w: %w", ErrNotFound, err))
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		if n, parseErr := strconv.Atoi(resp.Header.Get("Retry-After")); parseErr == nil && n >= 0 {
			wait := min(time.Duration(n)*time.Second, maxRetryAfter)
			return fmt.Errorf("%w (%w)", err, &backoff.RetryAfterError{Duration: wait})
		}
		return err
	case code >= http.StatusInternalServerError || code == http.StatusRequestTimeout:
		return err
	}
	return backoff.Permanent(err)
}

// statusNoCacheData is a caching service's own code for a platform that it does not know (PCCS API, status codes).
const statusNoCacheData = 461

// words is the start of an error body, made harmless for a log line.
func words(r io.Reader) string {
	data, err := io.ReadAll(io.LimitReader(r, maxWords))
	if err != nil || len(data) == 0 {
		return ""
	}
	return fmt.Sprintf(": %q", data)
}
