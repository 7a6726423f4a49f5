package collateral

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of the relay's server. Its clients are guests of this host, which ask a few small questions a day.
const (
	headerTime  = 5 * time.Second
	requestTime = 10 * time.Second
	// answerTime covers answerLimit and the transfer.
	answerTime = answerLimit + 30*time.Second
	idleTime   = 60 * time.Second
	stopTime   = 5 * time.Second
	maxHeader  = 16 << 10
	// maxRequests bounds the requests that are answered at a time; more are told to come back.
	maxRequests = 256
)

// Serve answers on a listener until ctx ends, which is not an error; then requests under way get a moment to finish.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	s := &http.Server{
		Handler: limited(h), ReadHeaderTimeout: headerTime, ReadTimeout: requestTime, WriteTimeout: answerTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving collateral on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	err := s.Shutdown(stop)
	if err != nil {
		err = errors.Join(err, s.Close())
	}
	if end := <-done; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	if err != nil {
		return fmt.Errorf("stopping the collateral relay: %w", err)
	}
	return nil
}

// limited answers at most maxRequests at a time.
func limited(h http.Handler) http.Handler {
	places := make(chan struct{}, maxRequests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			h.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", retrySeconds)
			http.Error(w, "too many requests at a time", http.StatusServiceUnavailable)
		}
	})
}
