package bind

import "fmt"

// ExitText says what an exit code of our contracts and the network's means (contracts.md sections 1.8, 3.5, 5 and 13). Codes
// below 64 come from the machine that runs contracts.
func ExitText(code int) string {
	texts := map[int]string{
		0: "done", 2: "stack underflow", 4: "integer overflow", 5: "a number is out of range", 6: "unknown instruction: the chain's global version is below 12",
		8: "a cell overflows", 9: "the message is too short, too long or malformed", 13: "out of gas", -14: "out of gas",
		32: "invalid list of actions", 34: "an action is invalid", 36: "a destination address is invalid", 37: "not enough coins for an action",
		63: "unknown operation",

		1000: "old message", 1001: "low contract balance", 1002: "low balance", 1003: "low message value", 1004: "message format",
		1005: "signed message format", 1006: "closed", 1007: "bad signature", 1008: "stored data damaged", 1009: "expected owner",
		1010: "expected message from owner", 1011: "not unlocked yet", 1012: "unknown op", 1013: "unknown text op",
		1014: "contract address mismatch", 1015: "expected my address", 1016: "commit: wrong seqno",
		1017: "commit: previous hash differs", 1018: "bad excess address", 2000: "unknown proxy seqno",

		1030: "wallet: expired", 1031: "wallet: blocked", 1032: "wallet: wrong seqno", 1033: "wallet: wrong subwallet",
		1034: "wallet: bad signature", 1035: "wallet: balance below 2 TON", 1040: "wallet: not owner", 1041: "wallet: unknown text command",

		1050: "governor: role missing", 1051: "governor: timelock not over", 1052: "governor: unknown or expired proposal",
		1053: "governor: already approved", 1054: "governor: wrong state for this change",
		1060: "agreement: wrong state", 1061: "agreement: deadline passed", 1062: "agreement: deadline not reached",
		1063: "agreement: amount too small", 1064: "agreement: price source refused",
	}
	if text, ok := texts[code]; ok {
		return text
	}
	return fmt.Sprintf("exit %d", code)
}
