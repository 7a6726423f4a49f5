package dcap

import "fmt"

// Status is where a platform, a TDX module or a quoting enclave stands among the TCB levels of the collateral.
type Status uint8

// The statuses, from best to worst. The zero value is no status: what it would be about does not exist, like the TDX
// module of an enclave's quote.
const (
	NoStatus Status = iota
	UpToDate
	SWHardeningNeeded
	ConfigurationNeeded
	ConfigurationAndSWHardeningNeeded
	OutOfDate
	OutOfDateConfigurationNeeded
	// Unrecognized: older than every level that the collateral lists.
	Unrecognized
	// Revoked: Intel says that the level must not be trusted.
	Revoked
)

// statusNames are Intel's names; Unrecognized is ours.
func statusNames() [Revoked + 1]string {
	return [...]string{
		"", "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate",
		"OutOfDateConfigurationNeeded", "Unrecognized", "Revoked",
	}
}

// String is the name that Intel's collateral uses.
func (s Status) String() string {
	if names := statusNames(); int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// MarshalText makes statuses names in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseStatus reads a name as String writes it. There is no name for NoStatus.
func ParseStatus(name string) (Status, error) {
	for s, n := range statusNames() {
		if n == name && s != int(NoStatus) {
			return Status(s), nil
		}
	}
	return NoStatus, fmt.Errorf("TCB status %q is not one of Intel's", name)
}

// OutOfDate reports that an update exists that the platform lacks.
func (s Status) OutOfDate() bool { return s == OutOfDate || s == OutOfDateConfigurationNeeded }

// What a status asks its owner to do; statuses up to OutOfDateConfigurationNeeded are sets of these.
const (
	needsSoftware = 1 << iota
	needsConfiguration
	needsUpdate
)

func (s Status) needs() int {
	switch s {
	case SWHardeningNeeded:
		return needsSoftware
	case ConfigurationNeeded:
		return needsConfiguration
	case ConfigurationAndSWHardeningNeeded:
		return needsConfiguration | needsSoftware
	case OutOfDate:
		return needsUpdate
	case OutOfDateConfigurationNeeded:
		return needsUpdate | needsConfiguration
	default:
		return 0
	}
}

// combine is the status of a whole (attestation.md section 10.4): the worst word wins, and what the parts need adds up.
// Hardening is not mentioned beside a missing update, as Intel's names have no word for it.
func combine(parts ...Status) Status {
	needs, worst := 0, NoStatus
	for _, s := range parts {
		needs |= s.needs()
		worst = max(worst, s)
	}
	switch {
	case worst == NoStatus || worst >= Unrecognized:
		return worst
	case needs&needsUpdate != 0 && needs&needsConfiguration != 0:
		return OutOfDateConfigurationNeeded
	case needs&needsUpdate != 0:
		return OutOfDate
	case needs == needsConfiguration|needsSoftware:
		return ConfigurationAndSWHardeningNeeded
	case needs == needsConfiguration:
		return ConfigurationNeeded
	case needs == needsSoftware:
		return SWHardeningNeeded
	}
	return UpToDate
}
