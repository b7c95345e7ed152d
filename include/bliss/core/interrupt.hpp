#pragma once

namespace bliss {

/// From now on SIGUSR1 and SIGTERM ask the program to stop when it can, as a scheduler does before a job's time is up. A second SIGTERM
/// ends it at once.
void stop_on_signals();

/// Whether such a signal came.
[[nodiscard]] bool stop_requested();

}  // namespace bliss
