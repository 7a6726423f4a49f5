package boot

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"cocoon/measure/bootfiles"
)

// DebugMark says that the running image is a debug image. Code that must not run in any other takes one as an argument
// and asks Valid: the zero value is not, and State.DebugMark alone makes one that is.
type DebugMark struct{ image string }

// Valid reports whether the mark was made for a debug image.
func (m DebugMark) Valid() bool { return m.image != "" }

// DebugMark makes the mark if the measured initrd says that this is a debug image and the kernel was started with the
// measured command line that says so too. Both are in RTMR1 and RTMR2 before init runs, so an image that gives a mark
// never has the registers of one that does not, even where the boot ends before RTMR3 is extended.
func (st *State) DebugMark() (DebugMark, bool) {
	if st.Image.Variant != bootfiles.Debug || !st.debugWord() {
		return DebugMark{}, false
	}
	return DebugMark{image: st.Image.Name}, true
}

// debugWord reports whether the accepted command line has the debug word; before the cmdline stage none is accepted.
func (st *State) debugWord() bool {
	return slices.Contains(strings.Split(st.Cmdline, " "), bootfiles.DebugWord)
}

// OfferShell offers a shell on the console of a debug image until ctx ends. In any other image it does nothing.
func OfferShell(ctx context.Context, st *State) {
	mark, ok := st.DebugMark()
	if !ok || st.deps.DebugShell == nil {
		return
	}
	st.openBaseForShell(ctx)
	layers := st.LayersOf(bootfiles.RoleBase)
	dirs := make([]string, 0, len(layers))
	for _, l := range slices.Backward(layers) {
		dirs = append(dirs, st.path(l.Mount))
	}
	if err := st.deps.DebugShell(ctx, mark, dirs); err != nil {
		st.Log.Warn("No debug shell", slog.String("err", err.Error()))
	}
}

// openBaseForShell opens the base layers where the boot ended before their stage: the shell's program is in them.
func (st *State) openBaseForShell(ctx context.Context) {
	if st.reached(StageBase) {
		return
	}
	if err := runBase(ctx, st); err != nil {
		st.Log.Warn("Base layer not opened for the debug shell", slog.String("err", err.Error()))
	}
}
