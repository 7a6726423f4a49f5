package boot

import "time"

// Stages is the boot: image.md section 15, in order. Deadlines are for a slow emulated machine; on hardware every
// stage but network, gpu, storage and engine takes well below a second. The engine's own rule is progress: in a TD a
// large model loads for hours, and this deadline is only there because every stage has one.
func Stages() []Stage {
	return []Stage{
		{StageConsole, runConsole, 5 * time.Second, Required},
		{StageMounts, runMounts, 10 * time.Second, Required},
		{StageCmdline, runCmdline, 5 * time.Second, Required},
		{StageModules, runModules, time.Minute, Required},
		{StageTD, runTD, 10 * time.Second, Required},
		{StageConfig, runConfig, 20 * time.Second, Required},
		{StageDebugMarker, runDebugMarker, 5 * time.Second, Required},
		{StageBase, runBase, 30 * time.Second, Required},
		{StageNetwork, runNetwork, time.Minute, Required},
		{StageClock, runClock, 30 * time.Second, Required},
		{StageGPU, runGPU, 20 * time.Minute, Required},
		{StageLock, runLock, 10 * time.Second, Required},
		{StageSeal, hook(StageSeal, sealHook), 2 * time.Minute, Later},
		{StageStorage, hook(StageStorage, storageHook), 5 * time.Minute, Later},
		{StageModel, runModel, time.Minute, Required},
		{StageEngine, runEngine, 12 * time.Hour, Later},
		{StageIdentity, runIdentity, time.Minute, Later},
		{StageService, hook(StageService, serviceHook), 2 * time.Minute, Later},
		{StageReady, runReady, 5 * time.Second, Required},
	}
}
