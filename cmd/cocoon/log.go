package main

import (
	"io"
	"log/slog"
	"slices"
	"strings"

	"cocoon/cmd/internal/cli"
)

// Values of --log-level and --log-format.
const (
	logLevels    = "debug, info, warn, error"
	logText      = "text"
	logJSON      = "json"
	defaultLevel = "info"
)

// logFlags say what is logged, and how.
type logFlags struct{ level, format string }

// parse checks the flags and gives the level.
func (l *logFlags) parse() (slog.Level, error) {
	i := slices.Index(strings.Split(logLevels, ", "), l.level)
	if i < 0 {
		return 0, cli.Usagef("--log-level %q is none of %s", l.level, logLevels)
	}
	if l.format != logText && l.format != logJSON {
		return 0, cli.Usagef("--log-format %q is none of %s, %s", l.format, logText, logJSON)
	}
	return slog.LevelDebug + slog.Level(i)*(slog.LevelInfo-slog.LevelDebug), nil
}

// logger writes what happens in the background to stderr.
func (a *app) logger() *slog.Logger {
	if a.quiet {
		return slog.New(slog.DiscardHandler)
	}
	return a.loggerTo(a.stderr)
}

// loggerTo writes to w, as the flags say.
func (a *app) loggerTo(w io.Writer) *slog.Logger {
	level, err := a.log.parse()
	if err != nil { // prepare has refused it
		return slog.New(slog.DiscardHandler)
	}
	options := &slog.HandlerOptions{Level: level}
	if a.log.format == logJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
