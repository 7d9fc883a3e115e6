"""Why a link or a pair of sessions does not work: measurements, findings and verdicts; pure."""
