#include "prefetcher.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/interrupt.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <new>
#include <sstream>
#include <string_view>

namespace bliss::inference {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view k_again = "again";

/// What text_of says.
ReadField field_of(const shard::Work& work) {
    std::array<std::string, 5> lines;
    std::istringstream in{work.text};
    for (std::string& line : lines) std::getline(in, line);
    return {.index = work.index,
            .source = {parse_field_id(lines[0]), lines[1], lines[2], lines[3]},
            .frame = {},
            .reason = {},
            .failed_before = lines[4] == k_again};
}

ReadField read(const shard::Work& work, const SurveyConfig& survey) {
    const auto start = Clock::now();
    ReadField out = field_of(work);
    try {
        out.frame = read_field(survey, out.source);
    } catch (const std::bad_alloc&) {
        out.reason = "out of memory";
    } catch (const std::exception& error) {  // of the field, whatever it is
        out.reason = error.what();
    }
    out.read_s = std::chrono::duration<double>(Clock::now() - start).count();
    return out;
}

}  // namespace

std::string text_of(const FieldSource& source, bool failed_before) {
    return fmt::format("{}\n{}\n{}\n{}\n{}", to_string(source.id), source.band, source.path.string(), source.settings.string(),
                       failed_before ? k_again : "");
}

Prefetcher::Prefetcher(shard::HandOut& hand_out, const SurveyConfig& survey) : hand_out_{hand_out}, survey_{survey} {
    reader_ = std::thread([this] {
        try {
            read_ahead();
        } catch (...) {
            failure_ = std::current_exception();
        }
        const std::lock_guard lock{mutex_};
        ended_ = true;
        changed_.notify_all();
    });
}

Prefetcher::~Prefetcher() {
    {
        const std::lock_guard lock{mutex_};
        closing_ = true;
        changed_.notify_all();
    }
    reader_.join();
}

std::optional<ReadField> Prefetcher::next() {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return ready_ || ended_; });
    if (!ready_ && failure_) std::rethrow_exception(failure_);
    std::optional<ReadField> out = std::move(ready_);
    ready_.reset();
    changed_.notify_all();
    return out;
}

void Prefetcher::read_ahead() {
    while (true) {
        {
            std::unique_lock lock{mutex_};
            changed_.wait(lock, [&] { return !ready_ || closing_; });
            if (closing_) return;
        }
        if (stop_requested()) hand_out_.stop();
        const std::optional<shard::Work> work = hand_out_.next();
        if (!work) return;
        ReadField field = read(*work, survey_);
        const std::lock_guard lock{mutex_};
        ready_ = std::move(field);
        changed_.notify_all();
    }
}

}  // namespace bliss::inference
