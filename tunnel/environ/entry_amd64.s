#include "textflag.h"

// The kernel starts a process with this at SP: argc, argv…, 0, envp…, 0, auxv… (pairs, the last with tag 0).
// entry copies all of it but envp below that, saves where envp is, and goes on with the runtime's own entry point.
TEXT ·entry(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ	SP, SI
	MOVQ	0(SI), CX
	LEAQ	16(SI)(CX*8), BX	// envp
	MOVQ	BX, ·hidden(SB)
	MOVQ	BX, DI
environment:
	MOVQ	0(DI), AX
	ADDQ	$8, DI
	TESTQ	AX, AX
	JNZ	environment
	MOVQ	DI, DX	// auxv
auxiliary:
	MOVQ	0(DX), AX
	ADDQ	$16, DX
	TESTQ	AX, AX
	JNZ	auxiliary	// DX: behind auxv

	MOVQ	DX, R8
	SUBQ	DI, R8	// bytes of auxv
	LEAQ	24(R8)(CX*8), R9	// and of argc, argv, and two zeros
	MOVQ	SP, R10
	SUBQ	R9, R10
	ANDQ	$~15, R10
	MOVQ	R10, R11
arguments:
	CMPQ	SI, BX	// argc, argv…, 0
	JEQ	rest
	MOVQ	0(SI), AX
	MOVQ	AX, 0(R11)
	ADDQ	$8, SI
	ADDQ	$8, R11
	JMP	arguments
rest:
	MOVQ	$0, 0(R11)	// no envp
	ADDQ	$8, R11
values:
	CMPQ	DI, DX
	JEQ	start
	MOVQ	0(DI), AX
	MOVQ	AX, 0(R11)
	ADDQ	$8, DI
	ADDQ	$8, R11
	JMP	values
start:
	MOVQ	R10, SP
	JMP	_rt0_amd64_linux(SB)
