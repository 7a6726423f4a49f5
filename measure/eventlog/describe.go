package eventlog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"
)

// maxText bounds the text taken from one event.
const maxText = 256

// Tag ids of EVENT_TAG events.
const (
	tagInitrd      = 0x8f3b22ec // Linux EFI stub, include/linux/efi.h
	tagLoadOptions = 0x8f3b22ed
	tagAAEL        = 0x4141454c // attestation agent event log
)

// Describe says in a few words what an event's data claims. Anything unprintable in it is escaped.
func (e *Event) Describe() string {
	switch e.Type {
	case Separator:
		if bytes.Equal(e.Data, make([]byte, 4)) {
			return "separator"
		}
		return "separator " + short(e.Data)
	case VariableDriverConfig, VariableBoot, VariableBoot2, VariableAuthority:
		return describeVariable(e.Data)
	case EventTag:
		return describeTag(e.Data)
	case IPL:
		return describeText(e.Data)
	case BootServicesApplication, BootServicesDriver, RuntimeServicesDriver:
		return describeImage(e.Data)
	case GPTEvent:
		return describeGPT(e.Data)
	case FirmwareBlob2, HandoffTables2:
		return describeBlob(e.Data)
	default:
		return describeText(e.Data)
	}
}

func describeVariable(data []byte) string {
	v, err := ParseVariable(data)
	if err != nil {
		return "malformed variable " + short(data)
	}
	return fmt.Sprintf("%s (%s), %d bytes", printable(v.Name), guidName(v.GUID), len(v.Data))
}

func describeTag(data []byte) string {
	if len(data) < 8 || int64(binary.LittleEndian.Uint32(data[4:])) != int64(len(data)-8) {
		return "malformed tag " + short(data)
	}
	id, text := binary.LittleEndian.Uint32(data), describeText(data[8:])
	switch id {
	case tagInitrd, tagLoadOptions:
		return text
	case tagAAEL:
		return "attestation agent: " + text
	}
	return fmt.Sprintf("tag 0x%08x: %s", id, text)
}

// describeText shows UTF-16LE or ASCII text without its NULs, else the first bytes.
func describeText(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	if text, ok := wideText(data); ok {
		return printable(text)
	}
	trimmed := bytes.TrimRight(data, "\x00")
	// QEMU's events are a text, a NUL and a name: "QEMU FW CFG\0etc/...".
	parts := strings.FieldsFunc(string(trimmed), func(r rune) bool { return r == 0 })
	for _, p := range parts {
		if strings.ContainsFunc(p, func(r rune) bool { return r != '\n' && r != '\t' && (r < ' ' || r > '~') }) {
			return short(data)
		}
	}
	return printable(strings.Join(parts, " "))
}

// wideText decodes data that is UTF-16LE of printable ASCII.
func wideText(data []byte) (string, bool) {
	if len(data) < 4 || len(data)%2 != 0 {
		return "", false
	}
	text := strings.TrimRight(decodeUTF16(data), "\x00")
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", false
	}
	return text, true
}

// describeImage reads an UEFI_IMAGE_LOAD_EVENT: u64 address, length, link-time address and path length, then a path.
func describeImage(data []byte) string {
	const header = 32
	if len(data) < header {
		return "malformed image event " + short(data)
	}
	size := binary.LittleEndian.Uint64(data[8:])
	if path := filePath(data[header:]); path != "" {
		return fmt.Sprintf("image of %d bytes, %s", size, printable(path))
	}
	return fmt.Sprintf("image of %d bytes", size)
}

// filePath finds the file path node (type 4, subtype 4) in an EFI device path.
func filePath(path []byte) string {
	for len(path) >= 4 {
		n := int(binary.LittleEndian.Uint16(path[2:]))
		if n < 4 || n > len(path) {
			return ""
		}
		if path[0] == 4 && path[1] == 4 {
			return strings.TrimRight(decodeUTF16(path[4:n]), "\x00")
		}
		path = path[n:]
	}
	return ""
}

func describeGPT(data []byte) string {
	const header = 92
	if len(data) < header+8 {
		return "malformed partition table " + short(data)
	}
	return fmt.Sprintf("partition table with %d entries", binary.LittleEndian.Uint64(data[header:]))
}

// describeBlob reads the description of a UEFI_PLATFORM_FIRMWARE_BLOB2 or UEFI_HANDOFF_TABLE_POINTERS2: u8 length, text.
func describeBlob(data []byte) string {
	if len(data) == 0 || int(data[0]) > len(data)-1 {
		return describeText(data)
	}
	return describeText(data[1 : 1+int(data[0])])
}

func decodeUTF16(data []byte) string {
	units := make([]uint16, 0, min(len(data)/2, maxText))
	for i := 0; i+1 < len(data) && len(units) < maxText; i += 2 {
		units = append(units, binary.LittleEndian.Uint16(data[i:]))
	}
	return string(utf16.Decode(units))
}

// printable escapes text from a log and cuts it.
func printable(text string) string {
	quoted := fmt.Sprintf("%+q", text[:min(len(text), maxText)])
	quoted = quoted[1 : len(quoted)-1]
	if len(text) > maxText {
		quoted += "..."
	}
	return strings.ReplaceAll(quoted, `\"`, `"`)
}

func short(data []byte) string {
	const shown = 16
	if len(data) > shown {
		return fmt.Sprintf("%x... (%d bytes)", data[:shown], len(data))
	}
	return hex.EncodeToString(data)
}

// guidName names the vendor GUIDs that occur in boot logs, others in text form.
func guidName(g [16]byte) string {
	text := fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g[:]), binary.LittleEndian.Uint16(g[4:]),
		binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:])
	switch text {
	case "8be4df61-93ca-11d2-aa0d-00e098032b8c":
		return "global"
	case "d719b2cb-3d3a-4596-a3bc-dad00e67656f":
		return "image security"
	case "605dab50-e046-4300-abb6-3dd810dd8b23":
		return "shim"
	}
	return text
}
