#pragma once

#include "bliss/training/trainer.hpp"
#include "learner.hpp"
#include "sum_engine.hpp"
#include "worker.hpp"

#include <future>
#include <memory>
#include <optional>
#include <vector>

namespace bliss::training {

/// Some of the images of a step, by their numbers.
struct ImageRange {
    std::int64_t first, count;
};

struct Trainer::Impl {
    Impl(const TrainingConfig& settings, const comm::Communicator& communicator, std::optional<encoder::Galaxies> galaxies);

    /// Where the networks compute, and in what: bits depend on it.
    [[nodiscard]] std::string computed() const {
        return std::string{device.is_cuda() ? "GPUs" : "cores"} + (bfloat16 ? " in bfloat16" : " in float32") +
               (makes_images_on(device, config) ? ", images on GPUs" : "");
    }

    [[nodiscard]] const simulator::GalaxyDecoder* decoder() const { return galaxy_decoder ? &*galaxy_decoder : nullptr; }

    /// Cuts images 0 ... `images` - 1 into pieces, which are the same for any number of ranks. @return this rank's, in their order
    [[nodiscard]] std::vector<ImageRange> pieces_of(std::int64_t images) const;

    /// The same of a step's images, shared out so that all ranks have about as much to do. @return this rank's, the most work first
    [[nodiscard]] std::vector<ImageRange> pieces_of_step(std::uint32_t step) const;

    /// Calls `work(learner, k)` for this rank's pieces, each on one thread with a learner of its own.
    template <class Work>
    void for_each_piece(std::size_t pieces, const Work& work);

    [[nodiscard]] simulator::SampleRange samples(std::uint32_t step, std::int64_t first) const {
        return {static_cast<std::uint64_t>(config.seed), step, static_cast<std::uint32_t>(first)};
    }
    [[nodiscard]] Batch make_batch(std::uint32_t step, const ImageRange& images) const;

    /// A step's batches: where the networks are on a GPU, made by a thread of their own while the step before learns.
    struct StepBatches {
        ~StepBatches() {
            if (done.valid()) done.wait();
        }

        std::int64_t step = 0;
        std::vector<ImageRange> images;
        std::vector<Batch> made;  ///< one for each of `images`, or none: each is made by the thread that learns from it
        std::future<void> done;
    };
    /// Begins to make them, or says what they are. @collective
    [[nodiscard]] std::unique_ptr<StepBatches> begin_batches(std::int64_t step);
    /// Those of the present step. @collective
    [[nodiscard]] std::unique_ptr<StepBatches> take_batches();

    /// Losses of all ranks' pieces, in the order of their images. @collective
    [[nodiscard]] std::vector<LossSums> gather(const std::vector<ImageRange>& images, const std::vector<LossSums>& mine) const;

    /// Begins to add up a network's gradients into `gradients`. @collective
    [[nodiscard]] std::unique_ptr<PendingGradients> begin_sum(NetworkKind kind);

    /// Says which images a step is left out for. @throws Error where these are too many steps
    void skip(const std::vector<LossSums>& losses);

    void swap_averages();
    /// Gives rank 0's numbers to all ranks. @collective
    void broadcast(const at::Tensor& block) const;

    TrainingConfig config;
    comm::Communicator comm;
    c10::Device device;
    std::unique_ptr<SumEngine> engine;
    encoder::Model model;
    std::optional<simulator::GalaxyDecoder> galaxy_decoder;
    std::vector<FlatParameters> parameters;  ///< of each network, by kind
    std::vector<GradientSums> gradients;     ///< over all images of a step, of each network
    PerThread<Learner> learners;
    bool bfloat16 = false;
    std::int64_t steps_done = 0;
    std::int64_t steps_skipped = 0;
    std::unique_ptr<Worker> batch_worker;  ///< on a GPU
    std::unique_ptr<StepBatches> coming;   ///< of the next step; last: its end waits for the worker
};

}  // namespace bliss::training
