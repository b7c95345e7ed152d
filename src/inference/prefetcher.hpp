#pragma once

#include "bliss/inference/fields.hpp"
#include "bliss/shard/hand_out.hpp"
#include "bliss/survey/frame.hpp"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace bliss::inference {

/// A field with its frame, or with the reason why there is none.
struct ReadField {
    std::int64_t index = 0;
    FieldSource source;
    std::optional<survey::Frame> frame;
    std::string reason;
    double read_s = 0;
    bool failed_before = false;  ///< in an earlier attempt
};

/// What is handed out for a field.
[[nodiscard]] std::string text_of(const FieldSource& source, bool failed_before);

/// Asks for this rank's fields and reads them, one ahead of the one that is computed, on a thread of its own: the only one that talks to
/// `hand_out` while it lives. Stops asking where the program is asked to stop.
class Prefetcher {
public:
    /// The arguments must outlive it.
    Prefetcher(shard::HandOut& hand_out, const SurveyConfig& survey);
    ~Prefetcher();
    Prefetcher(const Prefetcher&) = delete;
    Prefetcher& operator=(const Prefetcher&) = delete;

    /// Waits for the next field; nothing after the last. @throws what ended the thread, as MpiError
    [[nodiscard]] std::optional<ReadField> next();

private:
    void read_ahead();

    shard::HandOut& hand_out_;
    const SurveyConfig& survey_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<ReadField> ready_;
    bool closing_ = false;  ///< nobody will ask any more
    bool ended_ = false;
    std::exception_ptr failure_;
    std::thread reader_;
};

}  // namespace bliss::inference
